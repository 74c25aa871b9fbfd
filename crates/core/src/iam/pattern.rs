//! Patterns with wildcards and policy variables, for texts, ARNs and actions.

use crate::iam::truth::Truth;
use crate::ids::shorten;

/// The beginning of a stand-in for a part of a policy that is not known yet, such as a parameter of a template. The name of
/// what it stands for follows, then `}`. A stand-in is unknown in every element and in every version of the policy language.
pub const UNRESOLVED: &str = "${unresolved-";

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// This character.
    Literal(char),
    /// `?`: any one character.
    One,
    /// `*`: any characters, or none.
    Many,
    /// `${…}`: characters that only AWS knows, when it receives a request.
    Variable,
}

/// A text of a policy that is compared with a text of a request. Its parts are read as they are compared, because most
/// comparisons end at the first characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pattern<'a> {
    text: &'a str,
    variables: bool,
    wildcards: bool,
}

impl<'a> Pattern<'a> {
    /// A text in which `*` and `?` are wildcards. If the policy's version has variables, `${*}`, `${?}` and `${$}` are
    /// those characters themselves.
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>.
    pub(crate) fn with_wildcards(text: &'a str, variables: bool) -> Self {
        Self { text, variables, wildcards: true }
    }

    /// A text without wildcards; variables as above.
    pub(crate) fn exact(text: &'a str, variables: bool) -> Self {
        Self { text, variables, wildcards: false }
    }

    fn pieces(self) -> Pieces<'a> {
        Pieces { rest: self.text, pattern: self }
    }

    /// Whether a text matches.
    pub(crate) fn matches(self, text: &str) -> Truth {
        if !self.wildcards && !self.text.contains('$') {
            return (self.text == text).into();
        }
        match matches(self.pieces(), text, false) {
            Truth::Yes if self.pieces().any(|piece| piece == Piece::Variable) => {
                Truth::unknown("it contains a policy variable")
            }
            truth => truth,
        }
    }

    /// Whether all six parts of an ARN match, each by itself. `None`: the pattern or the text has fewer parts.
    fn matches_parts(self, arn: &str) -> Option<Truth> {
        let colons = self.pieces().filter(|piece| *piece == COLON).take(5).count();
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let (last, first) = parts.split_last().filter(|(_, first)| first.len() == 5 && colons == 5)?;
        let mut pieces = self.pieces();
        // `take_while` also takes the colon that ends a part.
        let mut next_part = || pieces.by_ref().take_while(|piece| *piece != COLON).collect::<Vec<Piece>>();
        let first = Truth::all(first.iter().map(|part| matches(next_part().iter().copied(), part, false)));
        Some(first.and(matches(pieces, last, false)))
    }

    /// Whether an ARN matches in an ARN operator, which compares the six parts separately, so that a `*` ends at a
    /// colon. Source:
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_ARN>.
    pub(crate) fn matches_arn(self, arn: &str) -> Truth {
        match self.matches(arn) {
            Truth::No => Truth::No,
            truth => match self.matches_parts(arn) {
                Some(parts) => truth.and(parts),
                None => Truth::unknown("an ARN operator compares it with a text that is not an ARN"),
            },
        }
    }

    /// Whether an ARN matches in a `Resource` element. AWS forbids wildcards in the service part, and allows a `*` at
    /// the end of a part to reach beyond the colon. If a match needs either, it is unknown. So is a match of
    /// [`ANY_DIGIT`] in the ARN with a digit.
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>.
    pub(crate) fn matches_resource(self, arn: &str) -> Truth {
        if self.text == "*" {
            return Truth::Yes;
        }
        match matches(self.pieces(), arn, true) {
            Truth::Yes => {}
            other => return other,
        }
        let truth = self.matches(arn);
        if truth == Truth::No {
            return Truth::unknown("it names only some dates");
        }
        let mut service = self.pieces().skip_while(|piece| *piece != COLON).skip(1);
        let mut service = service.by_ref().skip_while(|piece| *piece != COLON).skip(1).take_while(|it| *it != COLON);
        let service_is_literal = service.all(|piece| matches!(piece, Piece::Literal(_)));
        match self.matches_parts(arn) {
            Some(Truth::Yes) if service_is_literal => truth,
            _ => Truth::unknown("it matches only if a wildcard reaches over a colon or replaces the service"),
        }
    }
}

/// In the ARN of an object: a digit that differs between objects, such as those of dates.
pub(crate) const ANY_DIGIT: char = '#';

const COLON: Piece = Piece::Literal(':');

impl Piece {
    /// Whether it stands for this character.
    fn performs(self, character: char, any_digit: bool) -> bool {
        match self {
            Self::One => true,
            Self::Literal(own) => own == character || any_digit && character == ANY_DIGIT && own.is_ascii_digit(),
            Self::Many | Self::Variable => false,
        }
    }
}

/// The parts of a pattern, in order.
#[derive(Clone)]
struct Pieces<'a> {
    rest: &'a str,
    pattern: Pattern<'a>,
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let mut characters = self.rest.chars();
        let next = characters.next()?;
        self.rest = characters.as_str();
        let is_variable = next == '$' && (self.pattern.variables || characters_begin(next, self.rest, UNRESOLVED));
        let variable = if is_variable { self.rest.strip_prefix('{') } else { None };
        if let Some(variable) = variable {
            // The meaning of an unclosed variable is not documented.
            let (name, after) = variable.split_once('}').unwrap_or_default();
            self.rest = after;
            return Some(match name {
                "*" => Piece::Literal('*'),
                "?" => Piece::Literal('?'),
                "$" => Piece::Literal('$'),
                _ => Piece::Variable,
            });
        }
        Some(match next {
            '*' if self.pattern.wildcards => Piece::Many,
            '?' if self.pattern.wildcards => Piece::One,
            character => Piece::Literal(character),
        })
    }
}

/// Whether a character and the text after it begin so.
fn characters_begin(first: char, rest: &str, beginning: &str) -> bool {
    beginning.strip_prefix(first).is_some_and(|beginning| rest.starts_with(beginning))
}

/// Whether a text matches; with `any_digit`, an [`ANY_DIGIT`] in it is each digit.
///
/// If the pieces after a `*` do not match, only that `*` has to take another character, because every earlier one
/// already takes the fewest characters that it can.
fn matches(mut pieces: impl Iterator<Item = Piece> + Clone, text: &str, any_digit: bool) -> Truth {
    let mut rest = text.chars();
    let mut after_last_star = None;
    for _ in 0..MAX_STEPS {
        match pieces.next() {
            Some(Piece::Many | Piece::Variable) => {
                after_last_star = Some((pieces.clone(), rest.clone()));
                continue;
            }
            None if rest.as_str().is_empty() => return Truth::Yes,
            Some(piece) if rest.next().is_some_and(|character| piece.performs(character, any_digit)) => continue,
            _ => {}
        }
        let Some((next, from)) = &mut after_last_star else { return Truth::No };
        if from.next().is_none() {
            return Truth::No;
        }
        (pieces, rest) = (next.clone(), from.clone());
    }
    Truth::unknown("its wildcards can match in too many ways")
}

/// The most steps of a comparison. An ordinary one takes about as many as the text and the pattern have characters.
const MAX_STEPS: usize = 2048;

/// Whether an action matches. Case does not matter. A pattern is `*`, or a service, a colon and an action with
/// wildcards. Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html>.
pub(crate) fn matches_action(pattern: &str, action: &str) -> Truth {
    let lower = pattern.to_ascii_lowercase();
    let matched = Pattern::with_wildcards(&lower, false).matches(&action.to_ascii_lowercase());
    match pattern.split_once(':') {
        _ if matched == Truth::No => Truth::No,
        _ if pattern.contains(UNRESOLVED) => {
            Truth::unknown(format!("the action `{}` is not resolved", shorten(pattern, 80)))
        }
        None if pattern == "*" => matched,
        Some((service, _)) if !service.contains(['*', '?']) || service == "*" => matched,
        _ => Truth::unknown(format!("the action `{}` does not name a service", shorten(pattern, 80))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(pattern: &str, text: &str) -> Truth {
        Pattern::with_wildcards(pattern, true).matches(text)
    }

    #[test]
    fn wildcards_match_one_or_any_number_of_characters() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("**", "a"),
            ("a*c", "ac"),
            ("a*c", "abbc"),
            ("a?c", "abc"),
            ("*a*b", "xaab"),
            ("ü?", "üß"),
        ] {
            assert_eq!(like(pattern, text), Truth::Yes, "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("?", ""), ("a*c", "acb"), ("A", "a"), ("a?c", "ac"), ("*ab", "aab c")] {
            assert_eq!(like(pattern, text), Truth::No, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_slow_matching_down() {
        assert_eq!(like(&"*a".repeat(200), &"a".repeat(500)), Truth::Yes);
        assert_eq!(like(&format!("{}b", "*a".repeat(200)), &"a".repeat(500)), Truth::No);
        assert!(matches!(like(&format!("*{}b*", "a".repeat(200)), &"a".repeat(2000)), Truth::Unknown(_)));
        assert_eq!(
            like(&format!("*{}", "ab".repeat(500)), &"ab".repeat(500)),
            Truth::Yes,
            "the longest key of an object"
        );
    }

    #[test]
    fn escapes_are_characters_and_variables_are_unknown() {
        assert_eq!(like("a${*}b", "a*b"), Truth::Yes);
        assert_eq!(like("a${*}b", "axb"), Truth::No);
        assert_eq!(like("${?}${$}", "?$"), Truth::Yes);
        assert!(matches!(like("home/${aws:username}/*", "home/ann/x"), Truth::Unknown(_)));
        assert_eq!(like("home/${aws:username}/*", "away/ann/x"), Truth::No);
        assert!(matches!(like("${aws:username", "x"), Truth::Unknown(_)));
    }

    #[test]
    fn an_exact_text_with_a_variable_has_no_wildcards() {
        for wildcard in ['*', '?'] {
            let text = format!("${{aws:username}}{wildcard}");
            assert_eq!(Pattern::exact(&text, true).matches("ann"), Truth::No, "{text}");
            assert!(matches!(Pattern::exact(&text, true).matches(&format!("ann{wildcard}")), Truth::Unknown(_)));
        }
    }

    #[test]
    fn version_2008_has_no_variables() {
        let older = Pattern::with_wildcards("home/${aws:username}", false);
        assert_eq!(older.matches("home/ann"), Truth::No);
        assert_eq!(older.matches("home/${aws:username}"), Truth::Yes);
        assert_eq!(Pattern::exact("a*", false).matches("a*"), Truth::Yes);
        assert_eq!(Pattern::exact("a*", false).matches("ab"), Truth::No);
    }

    #[test]
    fn stand_ins_are_unknown_in_every_version() {
        for variables in [true, false] {
            for pattern in ["${unresolved-Ref-Name}", "home/${unresolved-GetAtt-A.Arn}", "home/a${unresolved-If}n"] {
                for it in [Pattern::exact(pattern, variables), Pattern::with_wildcards(pattern, variables)] {
                    assert!(matches!(it.matches("home/ann"), Truth::Unknown(_)), "{it:?}");
                }
            }
            assert_eq!(Pattern::exact("away/${unresolved-Ref-Name}", variables).matches("home/ann"), Truth::No);
        }
    }

    #[test]
    fn arn_parts_are_compared_separately() {
        let arn = |pattern: &str, text: &str| Pattern::with_wildcards(pattern, true).matches_arn(text);
        let trail = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
        assert_eq!(arn("arn:aws:cloudtrail:*:123456789012:trail/*", trail), Truth::Yes);
        assert_eq!(arn("arn:*:cloudtrail:eu-?est-1:*:*", trail), Truth::Yes);
        assert_eq!(arn("arn:aws:cloudtrail:*:210987654321:trail/*", trail), Truth::No);
        // AWS's own example of a string that matches where an ARN does not.
        let long = "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt";
        assert_eq!(like("arn:aws:someservice:*:111122223333:finance/*", long), Truth::Yes);
        assert_eq!(arn("arn:aws:someservice:*:111122223333:finance/*", long), Truth::No);
        for short in ["*", "arn:aws:*"] {
            assert!(matches!(arn(short, trail), Truth::Unknown(_)), "{short}");
        }
        assert_eq!(arn("audit", trail), Truth::No);
    }

    #[test]
    fn a_resource_is_a_star_or_an_arn_with_wildcards() {
        let resource = |pattern: &str, text: &str| Pattern::with_wildcards(pattern, true).matches_resource(text);
        let object = "arn:aws:s3:::logs/AWSLogs/1/a:b.gz";
        assert_eq!(resource("*", object), Truth::Yes);
        assert_eq!(resource("arn:aws:s3:::logs/*", object), Truth::Yes);
        assert_eq!(resource("arn:aws:s3:::logs", object), Truth::No);
        assert!(matches!(resource("arn:aws:s3*", object), Truth::Unknown(_)));
        assert!(matches!(resource("arn:aws:*:::logs/*", object), Truth::Unknown(_)));
        assert!(matches!(resource("arn:aws:s?:::logs/*", object), Truth::Unknown(_)));
        assert!(matches!(resource("arn:aws:s3:::logs/${aws:username}*", object), Truth::Unknown(_)));
    }

    #[test]
    fn actions_ignore_case_and_need_a_service() {
        assert_eq!(matches_action("*", "kms:Decrypt"), Truth::Yes);
        assert_eq!(matches_action("KMS:generatedatakey*", "kms:GenerateDataKeyWithoutPlaintext"), Truth::Yes);
        assert_eq!(matches_action("kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"), Truth::No);
        assert_eq!(matches_action("*:*", "kms:Decrypt"), Truth::Yes);
        assert!(matches!(matches_action("k*", "kms:Decrypt"), Truth::Unknown(_)));
        assert!(matches!(matches_action("k?s:Decrypt", "kms:Decrypt"), Truth::Unknown(_)));
        assert_eq!(matches_action("s3:*", "kms:Decrypt"), Truth::No);
        let too_long = format!("kms:{}x", "*".repeat(3000));
        assert!(matches!(matches_action(&too_long, "kms:Decrypt"), Truth::Unknown(_)));
        assert_eq!(matches_action("kms:${aws:username}", "kms:Decrypt"), Truth::No, "an action has no variables");
        for unresolved in [
            "${unresolved-Ref-Action}",
            "kms:${unresolved-Ref-Name}",
            "${unresolved-If}:*",
            "kms:De${unresolved-Ref-Rest}",
        ] {
            let unknown = Truth::unknown(format!("the action `{unresolved}` is not resolved"));
            assert_eq!(matches_action(unresolved, "kms:Decrypt"), unknown);
        }
        assert_eq!(matches_action("s3:${unresolved-Ref-Name}", "kms:Decrypt"), Truth::No);
    }
}
