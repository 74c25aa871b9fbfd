//! The Resource Groups Tagging API: the index of tags. KMS cannot list keys by tag.

use aws_sdk_resourcegroupstagging::types::TagFilter;
use trailseal_core::config::OWNER_TAG;
use trailseal_core::failure::Failure;
use trailseal_core::ids::{KeyArn, Region};

use super::Reader;
use super::operation::Operation;

/// Reads of the tag index.
pub(crate) trait TagReads {
    /// The keys of a Region that the index lists with trailseal's tag, by `GetResources`. The index is eventually
    /// consistent: it may lack a new key, and the tags of a listed key may have changed. Fails if it lists an entry without
    /// a key's ARN.
    async fn tagged_keys(&self, region: &Region) -> Result<Vec<KeyArn>, Failure>;
}

impl TagReads for Reader<'_> {
    async fn tagged_keys(&self, region: &Region) -> Result<Vec<KeyArn>, Failure> {
        let (name, value) = OWNER_TAG;
        let description = format!("find the keys with the tag `{name}` = `{value}` in `{region}`");
        let operation = Operation::new("tag:GetResources", region, description);
        let filter = TagFilter::builder().key(name).values(value).build();
        let call = self.0.aws.tagging(region).get_resources().tag_filters(filter).resource_type_filters("kms:key");
        let page = |token| call.clone().set_pagination_token(token).send();
        let list = self.0.list(&operation, page, |page| {
            let resources = operation.require(page.resource_tag_mapping_list, "ResourceTagMappingList")?;
            Ok((resources, page.pagination_token))
        });
        list.await?.into_iter().map(|resource| operation.parse(resource.resource_arn, "ResourceARN")).collect()
    }
}
