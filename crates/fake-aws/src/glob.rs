//! IAM's wildcards.

/// Whether `text` matches `pattern`, in which `*` is any run of characters and `?` any one.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to resume after the latest star, and how much text it has consumed.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((resume, consumed)) => {
                    star = Some((resume, consumed + 1));
                    p = resume;
                    t = consumed + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The same, ignoring case, as for actions.
pub(crate) fn matches_ignoring_case(pattern: &str, text: &str) -> bool {
    matches(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase())
}

/// ARN matching: each of the six colon-separated parts separately, so that `*` does not cross a colon.
pub(crate) fn arn_matches(pattern: &str, arn: &str) -> bool {
    let patterns: Vec<&str> = pattern.splitn(6, ':').collect();
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    if pattern == "*" {
        return true;
    }
    patterns.len() == parts.len() && patterns.iter().zip(&parts).all(|(pattern, part)| matches(pattern, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_any_run_and_question_marks_one_character() {
        assert!(matches("kms:GenerateDataKey*", "kms:GenerateDataKeyWithoutPlaintext"));
        assert!(matches("a*b*c", "a-b-b-c"));
        assert!(matches("*", ""));
        assert!(matches("a?c", "abc"));
        assert!(!matches("a?c", "ac"));
        assert!(!matches("kms:Generate", "kms:GenerateDataKey"));
    }

    #[test]
    fn an_arn_pattern_does_not_cross_colons() {
        let arn = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
        assert!(arn_matches("arn:aws:cloudtrail:*:123456789012:trail/*", arn));
        assert!(!arn_matches("arn:aws:cloudtrail:*:trail/*", arn));
        assert!(!arn_matches("arn:aws:*", arn));
    }
}
