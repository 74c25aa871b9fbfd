//! The Runtime API and the function's process, with a function that does what its events request.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fake_aws::lambda::{Function, Invocation, Launch};
use serde_json::{Value, json};

fn echo() -> Launch {
    Function::launch(Path::new(env!("CARGO_BIN_EXE_echo-function")))
}

fn started() -> Function {
    echo().start().expect("the function starts")
}

fn invoke(function: &mut Function, what: &str) -> Invocation {
    function.invoke(json!({ "do": what }).to_string().as_bytes())
}

#[track_caller]
fn error_type(invocation: Invocation) -> String {
    invocation.outcome.expect_err("an error").error_type
}

#[test]
fn a_function_handles_one_event_after_another() {
    let mut function = started();
    for number in 0..3 {
        let invocation = function.invoke(json!({ "number": number }).to_string().as_bytes());
        assert_eq!(invocation.outcome, Ok(json!({ "number": number })));
        assert_eq!(invocation.logs.len(), 2, "{:?}", invocation.logs);
        assert!(invocation.logs[0].starts_with("event "), "{:?}", invocation.logs);
        assert!(invocation.logs[1].starts_with("responded "), "{:?}", invocation.logs);
    }
    assert_eq!(function.stdout().len(), 6);
    assert_eq!(function.stderr(), ["starting"]);
}

#[test]
fn a_payload_need_not_be_json() {
    let invocation = started().invoke(b"\xff{");
    assert_eq!(invocation.outcome, Ok(json!({ "not json": [255, 123] })));
}

#[test]
fn a_function_gets_lambdas_context_and_environment() {
    let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let mut function = echo()
        .function_arn("arn:aws-cn:lambda:cn-north-1:210987654321:function:seal")
        .env("TRAILSEAL_MODE", "enforce")
        .env("TZ", "Europe/Berlin")
        .start()
        .expect("the function starts");
    let response =
        function.invoke_within(br#"{"do": "context"}"#, Duration::from_secs(5)).outcome.expect("an response");
    let deadline = u128::from(response["deadline"].as_u64().expect("a number"));
    assert!((before + 5_000..before + 65_000).contains(&deadline), "{deadline}");
    assert_eq!(response["arn"], "arn:aws-cn:lambda:cn-north-1:210987654321:function:seal");
    let environment: std::collections::BTreeMap<String, String> =
        serde_json::from_value(pairs(&response["env"])).expect("pairs");
    let set = |name: &str| environment.get(name).map(String::as_str);
    assert_eq!(set("AWS_REGION"), Some("cn-north-1"));
    assert_eq!(set("AWS_LAMBDA_FUNCTION_NAME"), Some("seal"));
    assert_eq!(set("TRAILSEAL_MODE"), Some("enforce"));
    assert_eq!(set("TZ"), Some("Europe/Berlin"));
    assert_eq!(set("HOME"), None, "the caller's environment is not inherited");
}

fn pairs(list: &Value) -> Value {
    let list = list.as_array().expect("a list");
    list.iter().map(|pair| (pair[0].as_str().expect("a name").to_owned(), pair[1].clone())).collect::<Value>()
}

#[test]
fn an_error_is_returned_and_the_function_continues() {
    let mut function = started();
    let error = invoke(&mut function, "fail").outcome.expect_err("an error");
    assert_eq!((error.error_type.as_str(), error.error_message.as_str()), ("Sorry", "cannot"));
    assert_eq!(error_type(invoke(&mut function, "nonsense")), "Runtime.InvalidResponse");
    assert_eq!(error_type(invoke(&mut function, "ignore")), "Runtime.NoResponse");
    assert!(invoke(&mut function, "nothing").outcome.is_ok());
}

#[test]
fn a_crash_during_an_invocation_is_reported() {
    let mut function = started();
    let invocation = invoke(&mut function, "exit");
    assert_eq!(invocation.logs.len(), 1);
    let error = invocation.outcome.expect_err("an error");
    assert_eq!(error.error_type, "Runtime.ExitError");
    assert!(error.error_message.ends_with("exit status: 4"), "{error}");
    assert_eq!(error_type(invoke(&mut function, "nothing")), "Runtime.ExitError", "it is not restarted");
}

#[test]
fn a_hanging_function_is_stopped() {
    let mut function = started();
    let error = function.invoke_within(br#"{"do": "hang"}"#, Duration::from_millis(100)).outcome.expect_err("an error");
    assert_eq!(error.error_type, "Sandbox.Timedout");
    assert!(error.error_message.contains("timed out after 0.10 seconds"), "{error}");
    assert_eq!(error_type(invoke(&mut function, "nothing")), "Runtime.ExitError");
}

#[test]
fn a_failed_start_is_a_crash() {
    let crash = echo().env("ECHO_START", "exit").start().expect_err("a crash");
    assert_eq!(crash.status.and_then(|status| status.code()), Some(3));
    assert_eq!(crash.stderr, ["starting"]);

    let crash = echo().env("ECHO_START", "report").start().expect_err("a crash");
    assert_eq!(crash.init_error.expect("was reported").error_message, "`ECHO_START`: no");

    let crash = echo().env("ECHO_START", "hang").init_timeout(Duration::from_millis(200)).start();
    assert_eq!(crash.expect_err("a crash").status, None);

    let crash = Function::launch(Path::new("/nowhere")).start().expect_err("a crash");
    assert!(crash.stderr[0].starts_with("cannot start `/nowhere`"), "{crash}");
}

#[test]
fn dropping_a_function_stops_its_process() {
    let function = started();
    let status = format!("/proc/{}/status", function.pid());
    drop(function);
    assert!(!Path::new(&status).exists());
}

#[cfg(target_os = "linux")]
#[test]
fn cpu_time_and_memory_are_measured() {
    let mut function = started();
    assert!(function.first_poll() > Duration::ZERO);
    assert!(function.init_cpu() > Duration::ZERO);
    let invocation = invoke(&mut function, "work");
    assert!(invocation.cpu > Duration::ZERO);
    assert!(function.cpu() >= function.init_cpu() + invocation.cpu);
    assert!(function.peak_memory() > 500_000, "{}", function.peak_memory());
}
