"""The emulator, the build and the sam command, for the demo and for the tests of the stack.

Each process runs in its own session, so that it can be stopped with all its children.
"""

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
TOOLS = PROJECT / ".tools"
LOGS = TOOLS / "demo"
BUILD = LOGS / "build"
ACCOUNT = "123456789012"


class SetupError(Exception):
    """The demo or the tests cannot run. The message says what to do."""


def architecture() -> str:
    """This machine's architecture, for which the function is built: the emulator runs it without a container."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ("x86_64", "aarch64"):
        raise SetupError(
            f"the emulator runs the function on this machine, which must be Linux on x86_64 or arm64, not {sys.platform} on {machine}"
        )
    return "arm64" if machine == "aarch64" else "x86_64"


def port(requested: str = "0") -> int:
    """The requested port if it is free; for 0, any free port."""
    if not requested.isdecimal() or int(requested) > 65535:
        raise SetupError(f"DEMO_PORT is `{requested}`, but must be a port number; by default, any free port is used")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(requested)))
        except OSError as error:
            raise SetupError(
                f"port {requested} on 127.0.0.1 cannot be used ({error.strerror}): choose another with DEMO_PORT=..."
            ) from error
        return probe.getsockname()[1]


def environment(endpoint: str, region: str) -> dict[str, str]:
    """This process's environment without AWS settings, so that commands can reach only the emulator."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_", "TRAILSEAL_"))}
    # scripts/tool-env compiles no modules, so sam and the emulator must be able to cache them.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env.update(
        AWS_ENDPOINT_URL=endpoint,
        # The emulator uses an access key of twelve digits as the account ID.
        AWS_ACCESS_KEY_ID=ACCOUNT,
        AWS_SECRET_ACCESS_KEY="demo",
        AWS_REGION=region,
        AWS_DEFAULT_REGION=region,
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        NO_PROXY="127.0.0.1",
        no_proxy="127.0.0.1",
    )
    return env


def stop(process: subprocess.Popen) -> None:
    """Stops a process from `start`, and its children."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def start(command: list[str], env: dict[str, str], log: Path) -> subprocess.Popen:
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=env,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


# Link-time optimization and optimization take most of a build's CPU time. The package keeps the release profile of Cargo.toml.
QUICK_BUILD = {
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
}


def tools(env: dict[str, str]) -> dict[str, str]:
    """The environment in which sam, cargo-lambda and zig run. The Makefile's variable SAM sets the same."""
    return env | {
        "RUSTFLAGS": f"--remap-path-prefix={env.get('CARGO_HOME', Path.home() / '.cargo')}=/cargo {env.get('RUSTFLAGS', '')}",
        "PATH": f"{TOOLS / 'sam' / 'bin'}{os.pathsep}{env['PATH']}",
        "SAM_CLI_TELEMETRY": "0",
        # Seconds between polls of the stack's state. The default of 5 suits AWS.
        "SAM_CLI_POLL_DELAY": "0.2",
        "__SAM_CLI_APP_DIR": str(TOOLS / "sam-home"),
        "ZIG_GLOBAL_CACHE_DIR": str(TOOLS / "cache" / "zig"),
        "CARGO_ZIGBUILD_CACHE_DIR": str(TOOLS / "cache" / "zigbuild"),
    }


def sam(what: str, *arguments: str, env: dict[str, str], logs: Path = LOGS) -> float:
    """Runs sam with the log `what`. Returns the seconds it took."""
    log = logs / f"{what}.log"
    began = time.monotonic()
    process = start([str(TOOLS / "sam" / "bin" / "sam"), *arguments], tools(env), log)
    try:
        if process.wait():
            raise SetupError(f"`sam {arguments[0]}` failed (log: {log.relative_to(PROJECT)})\n{tail(log)}")
    finally:
        stop(process)
    return time.monotonic() - began


def build(env: dict[str, str], logs: Path = LOGS) -> float:
    """Builds the function for this machine, without optimization. Returns the seconds it took."""
    env = env | QUICK_BUILD
    began = time.monotonic()
    _compile(env)
    # Compiles nothing, but copies the binary to where `sam deploy` expects it.
    sam(
        "build",
        "build",
        "--build-dir",
        str(BUILD),
        "--parameter-overrides",
        f"Architecture={architecture()}",
        env=env,
        logs=logs,
    )
    return time.monotonic() - began


def build_command_line(env: dict[str, str]) -> Path:
    """Builds the command line as the function, which has most dependencies already. Returns its path."""
    _compile(env | QUICK_BUILD, "--package", "trailseal-cli", "--bin", "trailseal")
    target = Path(env.get("CARGO_TARGET_DIR", PROJECT / "target"))
    return target / "lambda" / "trailseal" / "bootstrap"


def _compile(env: dict[str, str], *what: str) -> None:
    """Runs the build command of `sam build` directly, because sam hides cargo's progress."""
    command = ["cargo", "lambda", "build", "--release", *(what or ("--bin", "trailseal-lambda"))]
    if architecture() == "arm64":
        command.append("--arm64")
    process = subprocess.Popen(command, env=tools(env), cwd=PROJECT, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        if process.wait():
            raise SetupError(f"`{' '.join(command)}` failed: see above")
    finally:
        stop(process)


def deploy(what: str, stack: str, *parameters: str, env: dict[str, str], built: Path = BUILD, logs: Path = LOGS) -> float:
    """Deploys the build. In an existing stack, only the parameters given here change. Returns the seconds it took."""
    return sam(
        what,
        "deploy",
        "--template-file",
        str(built / "template.yaml"),
        "--stack-name",
        stack,
        *(("--parameter-overrides", *parameters) if parameters else ()),
        "--resolve-s3",
        "--capabilities",
        "CAPABILITY_NAMED_IAM",
        "--no-confirm-changeset",
        "--no-fail-on-empty-changeset",
        env=env,
        logs=logs,
    )


def tail(log: Path, lines: int = 12) -> str:
    return "\n".join("    " + line for line in log.read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def emulator(at: int, env: dict[str, str], logs: Path = LOGS):
    """Runs the emulator during the `with` block."""
    log = logs / "emulator.log"
    scratch = logs / "tmp"
    scratch.mkdir(exist_ok=True)
    env = env | {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(at),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": env["AWS_REGION"],
        # The emulator unpacks functions in TMPDIR and stores its own key in STATE_DIR.
        "TMPDIR": str(scratch),
        "STATE_DIR": str(scratch),
        # Functions run without a container.
        "LAMBDA_EXECUTOR": "local",
        # Records API calls, except CloudTrail's own. LookupEvents then returns the calls to KMS.
        "CLOUDTRAIL_RECORDING": "1",
        # The emulator's IAM check supports neither KMS's condition keys nor the resource of ListTags.
        "AUTH": "false",
        "PYTHONUNBUFFERED": "1",
    }
    process = start([str(TOOLS / "ministack" / "bin" / "ministack")], env, log)
    try:
        _wait_until_ready(process, env["AWS_ENDPOINT_URL"], log)
        yield
    finally:
        stop(process)


def _wait_until_ready(process: subprocess.Popen, endpoint: str, log: Path) -> None:
    # Ignores proxy settings in the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(300):
        if process.poll() is not None:
            raise SetupError(f"the emulator exited right after it started (log: {log.relative_to(PROJECT)})\n{tail(log)}")
        with contextlib.suppress(urllib.error.URLError, OSError):
            opener.open(f"{endpoint}/_ministack/health", timeout=1).close()
            return
        time.sleep(0.1)
    raise SetupError(f"the emulator did not answer within 30 seconds (log: {log.relative_to(PROJECT)})")
