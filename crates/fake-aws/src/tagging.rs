//! Resource Groups Tagging API: keys by tag.

use serde_json::{Value, json};

use crate::World;
use crate::names;
use crate::response::{ApiError, Outcome, page};
use crate::server::unknown_operation;

pub(crate) fn perform(world: &mut World, region: &str, operation: &str, input: &Value) -> Outcome {
    match operation {
        "GetResources" => get_resources(world, region, input),
        _ => Err(unknown_operation(operation)),
    }
}

fn get_resources(world: &mut World, region: &str, input: &Value) -> Outcome {
    let types = input["ResourceTypeFilters"].as_array().cloned().unwrap_or_default();
    let includes_keys = types.is_empty() || types.iter().any(|t| t == "kms:key" || t == "kms");
    let filters = input["TagFilters"].as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for (arn, key) in &mut world.keys {
        if names::region_of(arn) != region || key.account != world.account || !includes_keys {
            continue;
        }
        if key.unindexed_calls > 0 {
            key.unindexed_calls -= 1;
            continue;
        }
        let matches = filters.iter().all(|filter| {
            let values = filter["Values"].as_array().cloned().unwrap_or_default();
            let tag = filter["Key"].as_str().and_then(|name| key.tags.get(name));
            tag.is_some_and(|tag| values.is_empty() || values.iter().any(|value| value == tag))
        });
        // The index contains no untagged resources.
        if matches && !key.tags.is_empty() {
            let tags: Vec<Value> = key.tags.iter().map(|(name, value)| json!({"Key": name, "Value": value})).collect();
            found.push(json!({"ResourceARN": arn, "Tags": tags}));
        }
    }
    let (found, next) = page(found, input["PaginationToken"].as_str(), world.page_size)
        .ok_or_else(|| ApiError::new("PaginationTokenExpiredException", "The pagination token is not valid"))?;
    Ok(json!({"ResourceTagMappingList": found, "PaginationToken": next.unwrap_or_default()}))
}
