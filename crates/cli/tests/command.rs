//! The commands, their output and their errors. `cmd/*.trycmd` are sessions at a terminal; `cmd/*.toml` are policies that the
//! function's tests read, too. `TRYCMD=overwrite cargo test -p trailseal-cli` writes what changed.
#![expect(clippy::unwrap_used, reason = "tests may")]

use std::process::{Command, Output};

fn trailseal(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trailseal")).args(arguments).env_clear().output().unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn commands() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd").case("tests/cmd/*.toml");
}

#[test]
fn accounts_that_do_not_fit_are_counted() {
    let accounts: Vec<String> = (0..300_u64).map(|n| (500_000_000_000 + n).to_string()).collect();
    let output = trailseal(&["key-policy", "--account", "111122223333", "--accounts", &accounts.join(",")]);
    assert_eq!((output.status.code(), output.stdout), (Some(1), vec![]));
    let error = text(output.stderr);
    assert!(
        error.contains("but KMS accepts 32768: only ") && error.contains(" of the 300 other accounts fit"),
        "{error}"
    );
}

#[test]
fn control_characters_in_a_value_are_not_printed() {
    let output = trailseal(&["key-policy", "--account", "\u{1b}[31m", "--accounts", "1"]);
    let error = text(output.stderr);
    assert!(error.contains("invalid value ' [31m' for '--account <ID>'"), "{error}");
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = trailseal(&["completions", shell]);
        assert!(output.status.success());
        assert!(text(output.stdout).contains("organization"), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("man");
    std::fs::create_dir_all(&folder).unwrap();
    let man = |folder: &std::path::Path| Command::new(env!("CARGO_BIN_EXE_trailseal")).arg("man").arg(folder).output();
    assert_eq!(man(&folder).unwrap(), man(&folder).unwrap());
    for name in ["trailseal", "trailseal-plan", "trailseal-apply", "trailseal-check-policy", "trailseal-explain"] {
        let page = std::fs::read_to_string(folder.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
    }
    let failed = man(&folder.join("absent")).unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8(failed.stderr).unwrap().starts_with("error: cannot write to `"));
}

#[test]
fn the_action_uses_options_that_exist() {
    let action = include_str!("../../../action.yml");
    let help = Command::new(env!("CARGO_BIN_EXE_trailseal")).args(["check-policy", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let options = ["--account", "--organization", "--parameter", "--format"];
    assert!(options.iter().all(|option| action.contains(option) && help.contains(option)));
}
