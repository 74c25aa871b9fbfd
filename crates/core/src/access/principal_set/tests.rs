use serde_json::{Value, json};

use super::*;
use crate::iam::Document;

fn sets(statement: Value) -> Vec<PrincipalSet> {
    let document = Document::parse(&json!({ "Statement": [statement] }).to_string()).unwrap();
    external_principals(&document.statements()[0], &"123456789012".parse().unwrap())
}

fn everyone(condition: Value) -> PrincipalSet {
    let mut sets = sets(json!({ "Effect": "Allow", "Principal": "*", "Condition": condition }));
    assert_eq!(sets.len(), 1, "{sets:?}");
    sets.remove(0)
}

#[test]
fn a_deny_allows_no_one_and_malformed_is_unknown() {
    assert!(sets(json!({ "Effect": "Deny", "Principal": "*" })).is_empty());
    for statement in [json!(7), json!({ "Principal": "*" }), json!({ "Effect": "Allow", "Principal": { "AWS": 7 } })] {
        assert_eq!(sets(statement.clone())[0].kind, PrincipalKind::Unknown, "{statement}");
    }
}

#[test]
fn the_most_specific_condition_key_selects() {
    let condition = json!({
        "StringEquals": { "AWS:PrincipalOrgId": "o-abcdefghij", "aws:SourceVpce": "vpce-1" },
        "ArnLike": { "aws:PrincipalArn": "arn:aws:iam::*:role/siem" },
    });
    let siem = everyone(condition);
    assert_eq!(siem.kind, PrincipalKind::Matching("arn:aws:iam::*:role/siem".to_owned()));
    assert_eq!(siem.organization(), Some("o-abcdefghij"));
    for operator in ["StringNotEquals", "StringEqualsIfExists", "ForAllValues:StringEquals", "Null"] {
        let condition = json!({ operator: { "aws:PrincipalOrgID": "o-abcdefghij" } });
        assert_eq!(everyone(condition).kind, PrincipalKind::Everyone, "{operator}");
    }
}

#[test]
fn a_value_that_can_select_anyone_is_unknown() {
    for (key, value) in [
        ("aws:PrincipalArn", "arn:aws:iam::210987654321:role/${aws:username}"),
        ("aws:PrincipalOrgID", "o-*"),
        ("s3:DataAccessPointAccount", "2109*"),
    ] {
        let set = everyone(json!({ "StringLike": { key: value } }));
        assert_eq!((set.kind, set.name.as_str()), (PrincipalKind::Unknown, value));
    }
}

#[test]
fn the_id_of_a_deleted_role_names_no_one() {
    assert!(sets(json!({ "Effect": "Allow", "Principal": { "AWS": "AROADBQP57FF2AEXAMPLE" } })).is_empty());
}

#[test]
fn only_some_members_of_a_set_are_singled_out() {
    let set = |key: &str, value: &str| everyone(json!({ "StringEquals": { key: value } }));
    let [one, other] = ["210987654321", "999999999999"].map(|id| set("aws:PrincipalAccount", id));
    let (all, organization) = (everyone(json!({})), set("aws:PrincipalOrgID", "o-abcdefghij"));
    let role = sets(json!({ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::999999999999:role/siem" } }));
    for (set, members) in [(&all, &one), (&all, &organization), (&organization, &one), (&other, &role[0])] {
        assert!(set.may_single_out(members), "{members:?} of {set:?}");
        assert!(!members.may_single_out(set), "{set:?} of {members:?}");
    }
    assert!(!one.may_single_out(&one) && !organization.may_single_out(&organization));
    assert!(!one.may_single_out(&role[0]), "of another account");
}

#[test]
fn only_a_path_is_the_path_of_all_members() {
    let selected =
        |key: &str, value: &str| everyone(json!({ "StringLike": { key: value } })).selected_context(Context::new());
    let path = "o-abcdefghij/r-ab12/*";
    assert_eq!(selected("aws:PrincipalOrgID", "o-abcdefghij"), Context::new());
    assert_eq!(selected("aws:PrincipalOrgPaths", path), Context::new().with("aws:PrincipalOrgPaths", path));
}

#[test]
fn an_example_is_a_member() {
    let partition = "aws-cn".parse().unwrap();
    let example = |condition: Value| match everyone(condition).example(&partition) {
        Caller::Identity(identity) => identity.arn,
        other => panic!("{other:?}"),
    };
    let like = |pattern: &str| json!({ "ArnLike": { "aws:PrincipalArn": pattern } });
    assert_eq!(example(json!({})), "arn:aws-cn:iam::000000000000:role/any");
    assert_eq!(
        example(json!({ "StringEquals": { "aws:PrincipalAccount": "210987654321" } })),
        "arn:aws-cn:iam::210987654321:role/any"
    );
    assert_eq!(example(like("arn:aws-cn:iam::210987654321:role/read-*")), "arn:aws-cn:iam::210987654321:role/read-x");
    assert_eq!(example(like("arn:aws-cn:iam::*:user/??")), "arn:aws-cn:iam::000000000000:user/xx");
    assert_eq!(example(like("*")), "arn:aws-cn:iam::000000000000:role/any");
}

#[test]
fn a_log_reader_is_a_role_a_user_an_account_or_an_organization() {
    let named = |principal: Value| {
        let sets = sets(json!({ "Effect": "Allow", "Principal": principal }));
        sets.into_iter().map(|set| set.log_reader()).collect::<Vec<_>>()
    };
    let role = "arn:aws:iam::210987654321:role/path/siem";
    let account = Some("210987654321".to_owned());
    assert_eq!(named(json!({ "AWS": role })), [Some(role.to_owned())]);
    assert_eq!(named(json!({ "AWS": ["arn:aws:iam::210987654321:root", "210987654321"] })), [account.clone(), account]);
    let session = "arn:aws:sts::210987654321:assumed-role/siem/s1";
    assert_eq!(named(json!({ "AWS": session, "Service": "athena.amazonaws.com" })), [None, None]);
    assert_eq!(named(json!("*")), [None]);
    let of = |key: &str, value: &str| everyone(json!({ "StringLike": { key: value } })).log_reader();
    assert_eq!(of("aws:PrincipalOrgID", "o-abcdefghij").as_deref(), Some("o-abcdefghij"));
    assert_eq!(of("aws:PrincipalOrgPaths", "o-abcdefghij/r-ab12/*"), None, "the organization is more");
    assert_eq!(of("aws:PrincipalArn", "arn:aws:iam::210987654321:role/siem-*"), None);
}

#[test]
fn sets_of_different_accounts_do_not_overlap() {
    let account = |id: &str| everyone(json!({ "StringEquals": { "aws:PrincipalAccount": id } }));
    let organization = |id: &str| everyone(json!({ "StringEquals": { "aws:PrincipalOrgID": id } }));
    assert!(account("210987654321").may_include(&account("210987654321")));
    assert!(!account("210987654321").may_include(&account("999999999999")));
    assert!(organization("o-abcdefghij").may_include(&account("999999999999")));
    assert!(!organization("o-abcdefghij").may_include(&organization("o-zzzzzzzzzz")));
}
