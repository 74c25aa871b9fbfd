//! Starts a function: its environment, its process and its first poll.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

use super::{
    Crash, Function, POLL_INTERVAL,
    process::Process,
    server::{RuntimeCall, Server},
};

/// The settings of a function to start, from [`Function::launch`].
#[derive(Debug, Clone)]
#[must_use = "nothing runs until `start`"]
pub struct Launch {
    binary: PathBuf,
    function_arn: String,
    memory_mb: u32,
    init_timeout: Duration,
    env: BTreeMap<String, String>,
}

impl Function {
    /// Prepares to run `binary` as a Lambda function.
    pub fn launch(binary: &Path) -> Launch {
        Launch {
            binary: binary.to_owned(),
            function_arn: "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".into(),
            memory_mb: 128,
            init_timeout: Duration::from_secs(30),
            env: BTreeMap::new(),
        }
    }
}

impl Launch {
    /// Sets an environment variable. It overrides Lambda's.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets several environment variables.
    pub fn envs<N: Into<String>, V: Into<String>>(self, variables: impl IntoIterator<Item = (N, V)>) -> Self {
        variables.into_iter().fold(self, |launch, (name, value)| launch.env(name, value))
    }

    /// The function's ARN, which determines its name, Region and account.
    pub fn function_arn(mut self, arn: impl Into<String>) -> Self {
        self.function_arn = arn.into();
        self
    }

    /// The memory size in its environment, in MB. It is not enforced.
    pub fn memory_mb(mut self, megabytes: u32) -> Self {
        self.memory_mb = megabytes;
        self
    }

    /// The maximum time to the first poll. The default is 30 s.
    pub fn init_timeout(mut self, timeout: Duration) -> Self {
        self.init_timeout = timeout;
        self
    }

    /// Starts the process and waits for its first poll.
    ///
    /// # Errors
    ///
    /// A [`Crash`] if it could not be started, exited before it polled, or did not poll in time.
    pub fn start(self) -> Result<Function, Crash> {
        let cannot = |what: &str, error: std::io::Error| Crash {
            status: None,
            init_error: None,
            stdout: Vec::new(),
            stderr: vec![format!("cannot {what}: {error}")],
        };
        let (sender, calls) = mpsc::channel();
        let server = Server::start(sender).map_err(|error| cannot("serve the Runtime API", error))?;
        let mut command = Command::new(&self.binary);
        command.env_clear().envs(self.lambda_env(&server)).envs(&self.env);

        let started = Instant::now();
        let mut process =
            Process::spawn(command).map_err(|error| cannot(&format!("start `{}`", self.binary.display()), error))?;
        server.watch(process.pid());

        let mut init_error = None;
        loop {
            match calls.recv_timeout(POLL_INTERVAL) {
                Ok(RuntimeCall::Poll { event, sample }) => {
                    return Ok(Function {
                        process,
                        server,
                        calls,
                        poll: Some(event),
                        function_arn: self.function_arn,
                        first_poll: sample.at.saturating_duration_since(started),
                        init_cpu: sample.cpu,
                        invocations: 0,
                    });
                }
                Ok(RuntimeCall::InitError { error }) => init_error = Some(error),
                Ok(RuntimeCall::Response { .. }) => {}
                Err(_) => {
                    let status = process.exit_status();
                    let late = started.elapsed() > self.init_timeout;
                    if status.is_some() || late {
                        process.stop();
                        // It may have reported an error just before it exited.
                        let late_error = calls.try_iter().find_map(|call| match call {
                            RuntimeCall::InitError { error } => Some(error),
                            RuntimeCall::Poll { .. } | RuntimeCall::Response { .. } => None,
                        });
                        return Err(Crash {
                            status,
                            init_error: init_error.or(late_error),
                            stdout: process.stdout(),
                            stderr: process.stderr(),
                        });
                    }
                }
            }
        }
    }

    /// The environment that Lambda sets on `provided.al2023`.
    fn lambda_env(&self, server: &Server) -> Vec<(&'static str, String)> {
        let mut fields = self.function_arn.split(':').skip(3);
        let region = fields.next().unwrap_or_default().to_owned();
        let name = fields.nth(2).unwrap_or_default().to_owned();
        vec![
            ("AWS_LAMBDA_RUNTIME_API", server.address().to_string()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/20/[$LATEST]0123456789abcdef0123456789abcdef".into()),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON".into()),
            ("AWS_LAMBDA_FUNCTION_NAME", name),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.memory_mb.to_string()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".into()),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023".into()),
            ("AWS_REGION", region.clone()),
            ("AWS_DEFAULT_REGION", region),
            ("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE".into()),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into()),
            ("AWS_SESSION_TOKEN", "an-example-session-token".into()),
            ("LAMBDA_TASK_ROOT", "/var/task".into()),
            ("LAMBDA_RUNTIME_DIR", "/var/runtime".into()),
            ("_HANDLER", "bootstrap".into()),
            ("LANG", "en_US.UTF-8".into()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin".into()),
            ("TZ", ":UTC".into()),
        ]
    }
}
