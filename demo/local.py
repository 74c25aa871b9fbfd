"""The emulator and the sam command, for the demo and for the tests of the stack.

Each process gets a session of its own, so that it ends with all its children.
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


class Trouble(Exception):
    """Something that keeps us from going on; its text says what to do."""


def architecture() -> str:
    """The emulator runs the function without a container, so it must be built for this machine."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ("x86_64", "aarch64"):
        raise Trouble(
            f"the emulator runs the function itself and needs Linux on x86_64 or arm64, not {sys.platform} on {machine}"
        )
    return "arm64" if machine == "aarch64" else "x86_64"


def port(wanted: str = "0") -> int:
    """That one, if it is free; 0 is any."""
    if not wanted.isdecimal() or int(wanted) > 65535:
        raise Trouble(f"DEMO_PORT is `{wanted}`: name a free port, or leave it out")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(wanted)))
        except OSError as error:
            raise Trouble(
                f"port {wanted} on 127.0.0.1 cannot be used ({error.strerror}): free it, or name another with DEMO_PORT=..."
            ) from error
        return probe.getsockname()[1]


def environment(endpoint: str, region: str) -> dict[str, str]:
    """This process's environment with nothing of a real AWS account in it: whatever goes wrong, only the emulator is reached."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_", "TRAILSEAL_"))}
    env.update(
        AWS_ENDPOINT_URL=endpoint,
        # The emulator takes an access key of twelve digits for the account.
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


def end(process: subprocess.Popen) -> None:
    """Ends a process that `start` made, and its children."""
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


def sam(what: str, *arguments: str, env: dict[str, str], logs: Path = LOGS) -> float:
    """Runs sam; says how long it took."""
    log = logs / f"{what}.log"
    bin_folder = TOOLS / "sam" / "bin"
    env = env | {
        # As in the Makefile, so that what one has built the other need not.
        "RUSTFLAGS": f"--remap-path-prefix={env.get('CARGO_HOME', Path.home() / '.cargo')}=/cargo {env.get('RUSTFLAGS', '')}",
        # cargo-lambda and its zig are found on the path.
        "PATH": f"{bin_folder}{os.pathsep}{env['PATH']}",
        "SAM_CLI_TELEMETRY": "0",
        # Seconds between its looks at the stack; five are made for AWS, which has much more to do.
        "SAM_CLI_POLL_DELAY": "0.2",
        "__SAM_CLI_APP_DIR": str(TOOLS / "sam-home"),
        "ZIG_GLOBAL_CACHE_DIR": str(TOOLS / "cache" / "zig"),
        "CARGO_ZIGBUILD_CACHE_DIR": str(TOOLS / "cache" / "zigbuild"),
    }
    began = time.monotonic()
    process = start([str(bin_folder / "sam"), *arguments], env, log)
    try:
        if process.wait():
            raise Trouble(f"`sam {arguments[0]}` failed: its last words are in {log.relative_to(PROJECT)}\n{tail(log)}")
    finally:
        end(process)
    return time.monotonic() - began


def build(env: dict[str, str], logs: Path = LOGS) -> float:
    """Builds the function as it would be deployed, for this machine."""
    return sam(
        "build",
        "build",
        "--build-dir",
        str(BUILD),
        "--parameter-overrides",
        f"Architecture={architecture()}",
        env=env,
        logs=logs,
    )


def deploy(
    what: str, stack: str, *parameters: str, env: dict[str, str], built: Path = BUILD, logs: Path = LOGS
) -> float:
    """Deploys what was built; of a stack that stands, only the parameters that are given here change."""
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
    """The emulator, for as long as the block runs."""
    log = logs / "emulator.log"
    scratch = logs / "tmp"
    scratch.mkdir(exist_ok=True)
    env = env | {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(at),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": env["AWS_REGION"],
        # It unpacks functions in the one and keeps a key of its own in the other.
        "TMPDIR": str(scratch),
        "STATE_DIR": str(scratch),
        # It can run functions in containers; ours runs without.
        "LAMBDA_EXECUTOR": "local",
        # It records no calls unless told to, and CloudTrail's own not even then. With this, LookupEvents tells what KMS
        # was asked for.
        "CLOUDTRAIL_RECORDING": "1",
        # It could check the role's policies, but knows none of KMS's condition keys, nor which trail ListTags is about.
        "AUTH": "false",
        "PYTHONUNBUFFERED": "1",
    }
    process = start([str(TOOLS / "ministack" / "bin" / "ministack")], env, log)
    try:
        _until_it_answers(process, env["AWS_ENDPOINT_URL"], log)
        yield
    finally:
        end(process)


def _until_it_answers(process: subprocess.Popen, endpoint: str, log: Path) -> None:
    # Through no proxy, whatever the environment says.
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(300):
        if process.poll() is not None:
            raise Trouble(f"the emulator ended at once: see {log.relative_to(PROJECT)}\n{tail(log)}")
        with contextlib.suppress(urllib.error.URLError, OSError):
            ask.open(f"{endpoint}/_ministack/health", timeout=1).close()
            return
        time.sleep(0.1)
    raise Trouble(f"the emulator did not answer within half a minute: see {log.relative_to(PROJECT)}")
