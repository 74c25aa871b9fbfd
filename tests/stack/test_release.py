"""The commands of SECURITY.md's "Verify a release", on files that the commands of release.yml create.

The builds are replaced by small files. Signatures require GitHub: the test only checks which files the workflow signs.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from local import PROJECT
from test_documents import blocks

VERSION = re.search(r'^version = "(.+)"$', (PROJECT / "Cargo.toml").read_text(), re.MULTILINE)[1]
WORKFLOW = ".github/workflows/release.yml"
JOBS = yaml.safe_load((PROJECT / WORKFLOW).read_text())["jobs"]
ARCHIVES = [
    f"trailseal-{VERSION}-arm64.tar.gz",
    f"trailseal-{VERSION}-x86_64.tar.gz",
    f"trailseal-cli-{VERSION}-aarch64-apple-darwin.tar.gz",
    f"trailseal-cli-{VERSION}-aarch64-unknown-linux-musl.tar.gz",
    f"trailseal-cli-{VERSION}-x86_64-apple-darwin.tar.gz",
    f"trailseal-cli-{VERSION}-x86_64-unknown-linux-musl.tar.gz",
]
# Takes the place of scripts/package-cli.
PACKAGE_CLI = """#!/bin/sh
mkdir "$3" && echo binary > "$3/trailseal" && scripts/bill-of-materials crates/cli "$2" > "$3/trailseal.cdx.json"
"""
# Takes the place of cargo-cyclonedx, whose reproducible output has these fields, and no serial number.
CARGO = """#!/bin/sh
while [ "$1" != --target ]; do shift; done
for folder in . crates/cli; do
    mkdir -p $folder
    printf '{"bomFormat": "CycloneDX", "specVersion": "1.3", "metadata": {"component": {"name": "%s"}, "properties": [
        {"name": "cdx:rustc:sbom:target:triple", "value": "%s"}]}}' "$PWD/$folder" "$2" > $folder/trailseal.cdx.json
done
"""
# Publishes the files after `--`.
GH = '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\ncp -- "$@" "$PUBLISHED"\n'


def combinations(job: dict) -> list[dict]:
    [(name, values)] = job["strategy"]["matrix"].items()
    return values if name == "include" else [{name: value} for value in values]


def rendered(text: str, values: dict) -> str:
    return re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda found: values[found[1]], text)


def script(job: str, command: str, values: dict | None = None) -> str:
    """The job's only step that runs the command."""
    [found] = [it["run"] for it in JOBS[job]["steps"] if command in it.get("run", "")]
    return rendered(found, values or {})


def uses(job: str, action: str) -> list[dict]:
    return [it.get("with", {}) for it in JOBS[job]["steps"] if it.get("uses", "").startswith(f"actions/{action}@")]


def run(text: str, folder: Path, **variables: str) -> bool:
    """Runs a script as GitHub Actions does."""
    env = os.environ | {"GITHUB_REF_NAME": f"v{VERSION}", "GITHUB_REPOSITORY": "OWNER/trailseal"} | variables
    return (
        subprocess.run(["bash", "-e", "-c", text], cwd=folder, env=env, capture_output=True, check=False).returncode == 0
    )


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def bill(folder: Path, crate: str, target: str) -> str:
    """The output of scripts/bill-of-materials in a folder that takes the place of the sources."""
    tools = folder / ".tools" / "cyclonedx" / "bin"
    executable(tools / "cargo", CARGO)
    command = [PROJECT / "scripts" / "bill-of-materials", crate, target]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def documented(*commands: str) -> str:
    """The lines of SECURITY.md that begin with one of the commands."""
    lines = "\n".join(blocks(PROJECT / "SECURITY.md")).replace("VERSION", VERSION).splitlines()
    found = [line for line in lines if line.startswith(commands)]
    assert found, commands
    return "\n".join(found)


class Release(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = Path(temporary.name)
        # The artifacts by name: what each build uploads.
        self.artifacts = {}
        for values in combinations(JOBS["package"]):
            folder = self.root / "package" / values["arch"]
            built = folder / "dist" / f"trailseal-{VERSION}-{values['arch']}"
            (built / "cli").mkdir(parents=True)
            (built / "trailseal.zip").write_text(f"function for {values['arch']}")
            (built / "trailseal.cdx.json").write_text(bill(folder, ".", values["arch"]))
            (built / "cli" / "trailseal.cdx.json").write_text(bill(folder, "crates/cli", values["arch"]))
            self.upload("package", script("package", "tar ", values), values, folder)
        for values in combinations(JOBS["command-line"]):
            folder = self.root / "command-line" / values["target"]
            executable(folder / "scripts" / "package-cli", PACKAGE_CLI)
            executable(folder / ".tools" / "cyclonedx" / "bin" / "cargo", CARGO)
            shutil.copy(PROJECT / "scripts" / "bill-of-materials", folder / "scripts")
            self.upload("command-line", script("command-line", "tar ", values), values, folder)
        self.published = self.root / "published"
        self.publish()

    def upload(self, job: str, command: str, values: dict, folder: Path) -> None:
        self.assertTrue(run(command, folder))
        [upload] = uses(job, "upload-artifact")
        [archive] = folder.glob(upload["path"])
        self.artifacts[rendered(upload["name"], values)] = archive

    def publish(self) -> None:
        folder = self.root / "release"
        for directory in (folder, self.published):
            directory.mkdir()
        for archive in self.artifacts.values():
            (folder / archive.name).write_bytes(archive.read_bytes())
        executable(self.root / "bin" / "gh", GH)
        self.assertTrue(run(script("release", "sha256sum"), folder))
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        self.assertTrue(run(script("release", "gh release create"), folder, PATH=path, PUBLISHED=str(self.published)))

    def test_the_checksums_list_every_published_archive(self):
        self.assertEqual(sorted(it.name for it in self.published.iterdir()), sorted([*ARCHIVES, "SHA256SUMS"]))
        listed = [line.split("  ")[1] for line in (self.published / "SHA256SUMS").read_text().splitlines()]
        self.assertEqual(listed, ARCHIVES)

    def test_the_checksum_command_detects_one_changed_byte(self):
        command = documented("sha256sum ")
        self.assertTrue(run(command, self.published))
        for archive in ARCHIVES:
            with self.subTest(archive):
                path = self.published / archive
                original = path.read_bytes()
                path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
                self.assertFalse(run(command, self.published))
                path.write_bytes(original)
        self.assertTrue(run(command, self.published))

    def test_the_checksum_command_accepts_one_archive_alone(self):
        command = documented("sha256sum ")
        for archive in ARCHIVES[1:]:
            (self.published / archive).unlink()
        self.assertTrue(run(command, self.published))
        (self.published / ARCHIVES[0]).unlink()
        self.assertFalse(run(command, self.published), "no file was checked")

    def test_the_rebuild_commands_compare_every_file(self):
        self.assertEqual(documented("make "), script("rebuild", "make ", {"arch": "x86_64"}))
        comparison = documented("tar ", "diff ")
        folder = self.root / "package" / "x86_64"
        self.assertTrue(run(comparison, folder))
        rebuilt = folder / "dist" / f"trailseal-{VERSION}-x86_64"
        (rebuilt / "cli" / "trailseal.cdx.json").write_text("another bill")
        self.assertFalse(run(comparison, folder))

    def test_the_rebuild_job_fails_if_a_file_differs(self):
        for values in combinations(JOBS["rebuild"]):
            folder = self.root / "package" / values["arch"]
            [download] = uses("rebuild", "download-artifact")
            archive = self.artifacts[rendered(download["name"], values)]
            (folder / download["path"]).mkdir()
            (folder / download["path"] / archive.name).write_bytes(archive.read_bytes())
            command = script("rebuild", "diff ", values)
            self.assertTrue(run(command, folder))
            (folder / "dist" / f"trailseal-{VERSION}-{values['arch']}" / "new").touch()
            self.assertFalse(run(command, folder))

    def test_every_archive_is_attested_with_its_own_bill(self):
        attested = []
        for values in combinations(JOBS["attest"]):
            [download] = uses("attest", "download-artifact")
            archive = self.artifacts[rendered(download["name"], values)]
            folder = self.root / "attest" / archive.name
            folder.mkdir(parents=True)
            (folder / archive.name).write_bytes(archive.read_bytes())
            self.assertTrue(run(script("attest", "tar "), folder))
            [provenance], [sbom] = uses("attest", "attest-build-provenance"), uses("attest", "attest-sbom")
            target = archive.name.removesuffix(".tar.gz").partition(f"-{VERSION}-")[2]
            attested_bill = json.loads((folder / sbom["sbom-path"]).read_text())
            self.assertEqual(attested_bill["metadata"]["properties"][0]["value"], target)
            # attest-sbom recognizes CycloneDX by these fields:
            # https://github.com/actions/attest-sbom/blob/v3.0.0/src/sbom.ts.
            for field in ("bomFormat", "serialNumber", "specVersion"):
                self.assertTrue(attested_bill.get(field), field)
            for subjects in (provenance["subject-path"], sbom["subject-path"]):
                self.assertEqual([it.name for it in folder.glob(subjects)], [archive.name])
            attested.append(archive.name)
        self.assertEqual(sorted(attested), ARCHIVES)

    def test_a_bills_serial_number_depends_only_on_its_content(self):
        def serial(name: str, crate: str, target: str) -> str:
            folder = self.root / name
            folder.mkdir(exist_ok=True)
            return json.loads(bill(folder, crate, target))["serialNumber"]

        first = serial("here", "crates/cli", "x86_64-unknown-linux-musl")
        self.assertRegex(first, r"^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
        self.assertEqual(serial("there", "crates/cli", "x86_64-unknown-linux-musl"), first)
        others = [serial("here", ".", "x86_64-unknown-linux-musl"), serial("here", "crates/cli", "aarch64-apple-darwin")]
        self.assertEqual(len({first, *others}), 3)

    def test_the_attestation_commands_name_archive_tag_and_workflow(self):
        expected = {
            "--repo": "OWNER/trailseal",
            "--signer-workflow": f"OWNER/trailseal/{WORKFLOW}",
            "--source-ref": f"refs/tags/v{VERSION}",
        }
        found = []
        for line in documented("gh attestation verify ").splitlines():
            _, _, _, archive, *rest = shlex.split(line)
            self.assertIn(archive, ARCHIVES)
            found.append(dict(zip(rest[::2], rest[1::2], strict=True)))
        # The predicate type of attest-sbom for CycloneDX.
        self.assertEqual(found, [expected, expected | {"--predicate-type": "https://cyclonedx.org/bom"}])


class Jobs(unittest.TestCase):
    def test_jobs_that_sign_or_write_build_nothing(self):
        privileged = {}
        for name, job in JOBS.items():
            if granted := {it for it, value in job.get("permissions", {}).items() if value == "write"}:
                privileged[name] = granted
                actions = {it["uses"].partition("@")[0] for it in job["steps"] if "uses" in it}
                known = {"download-artifact", "attest-build-provenance", "attest-sbom"}
                self.assertLessEqual(actions, {f"actions/{action}" for action in known}, name)
        self.assertEqual(privileged, {"attest": {"id-token", "attestations"}, "release": {"contents"}})

    def test_every_build_and_rebuild_precedes_the_release(self):
        before, after = set(), ["release"]
        while after:
            needs = JOBS[after.pop()].get("needs", [])
            needs = [needs] if isinstance(needs, str) else needs
            before |= set(needs)
            after += needs
        self.assertEqual(before, set(JOBS) - {"release"})

    def test_all_builds_use_the_same_rust(self):
        builds = {name for name, job in JOBS.items() if "rustup" in str(job["steps"])} - {"rust"}
        self.assertEqual(builds, {"package", "rebuild", "command-line"})
        self.assertEqual(JOBS["rust"]["outputs"]["version"], "${{ steps.stable.outputs.version }}")
        for name in builds:
            self.assertEqual(JOBS[name]["env"]["RUST"], "${{ needs.rust.outputs.version }}")
            install = script(name, "rustup", combinations(JOBS[name])[0])
            self.assertIn('rustup toolchain install "$RUST"', install)
            self.assertIn('rustup default "$RUST"', install)

    def test_a_tag_of_another_version_is_not_released(self):
        check = script("package", "Cargo.toml")
        self.assertTrue(run(check, PROJECT))
        self.assertFalse(run(check, PROJECT, GITHUB_REF_NAME=f"v{VERSION}.1"))
