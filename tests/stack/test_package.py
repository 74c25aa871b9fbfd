"""`make package` creates a folder that deploys without the sources and contains nothing about this machine."""

import hashlib
import re
import shutil
import subprocess
import unittest
import zipfile
from pathlib import Path

from botocore.validate import ParamValidator

from account import HOME
from emulated_account import STACK, start_emulator
from local import PROJECT
from package import PACKAGES, build_package, checksums


def setUpModule() -> None:
    global aws, folder
    aws = start_emulator("package")
    folder = build_package(PACKAGES / "one")


class Contents(unittest.TestCase):
    def test_the_package_contains_everything_to_deploy(self):
        found = sorted(path.name for path in folder.iterdir())
        expected = [
            "LICENSE",
            "README.txt",
            "SHA256SUMS",
            "cli",
            "forwarder.yaml",
            "hub.yaml",
            "samconfig.toml",
            "security-hub.yaml",
            "stackset.json",
        ]
        self.assertEqual(found, sorted([*expected, "template.yaml", "trailseal.cdx.json", "trailseal.zip"]))

    def test_the_serverless_application_repository_accepts_it(self):
        [block] = re.findall(
            r"^  AWS::ServerlessRepo::Application:\n((?:    .+\n)+)", (folder / "template.yaml").read_text(), re.MULTILINE
        )
        application = dict(line.strip().split(": ", 1) for line in block.splitlines())
        for file in ("LicenseUrl", "ReadmeUrl"):
            self.assertTrue((folder / application[file]).is_file(), file)
        self.assertIn(f"-{application['SemanticVersion']}-", folder.name)
        labels = application["Labels"].strip("[]").split(", ")
        # https://docs.aws.amazon.com/serverlessrepo/latest/devguide/applications.html
        self.assertRegex(application["Author"], r"^[a-z0-9](([a-z0-9]|-(?!-))*[a-z0-9])?$")
        self.assertTrue(all(re.fullmatch(r"[a-zA-Z0-9+\-_:/@]+", label) for label in labels) and len(labels) <= 10)
        self.assertLessEqual(len(application["Description"]), 256)
        shape = aws.client("serverlessrepo").meta.service_model.operation_model("CreateApplication").input_shape
        report = ParamValidator().validate(application | {"Labels": labels}, shape)
        self.assertFalse(report.has_errors(), report.generate_report())
        self.assertEqual(set(application) - set(shape.members), set())

    def test_the_readme_names_the_rust_release_of_the_build(self):
        rust = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        self.assertIn(f"built with {rust}.", (folder / "README.txt").read_text())

    def test_the_checksums_cover_every_file(self):
        files = [path for path in folder.rglob("*") if path.is_file()]
        found = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        found.pop("SHA256SUMS")
        self.assertEqual(checksums(folder), found)

    def test_the_zip_contains_the_function_without_a_timestamp(self):
        with zipfile.ZipFile(folder / "trailseal.zip") as archive:
            [entry] = archive.infolist()
        self.assertEqual((entry.filename, entry.date_time[:3]), ("bootstrap", (1980, 1, 1)))
        self.assertEqual(entry.external_attr >> 16, 0o100755)

    def test_no_file_contains_the_path_of_the_sources(self):
        for path in filter(Path.is_file, folder.rglob("*")):
            self.assertNotIn(str(PROJECT).encode(), path.read_bytes(), path.name)

    def test_the_same_build_gives_the_same_package_again(self):
        again = build_package(PACKAGES / "another")
        self.assertEqual((again / "SHA256SUMS").read_text(), (folder / "SHA256SUMS").read_text())


class MissingBuild(unittest.TestCase):
    def test_the_error_without_a_build_names_the_command(self):
        with self.assertRaises(subprocess.CalledProcessError) as caught:
            build_package(PACKAGES / "empty", build=PACKAGES / "nonexistent")
        self.assertEqual(caught.exception.returncode, 1)
        self.assertIn("run `sam build` first", caught.exception.stderr)


class Deployed(unittest.TestCase):
    def test_the_package_deploys_and_its_function_sweeps(self):
        # A copy outside the sources.
        aws.deploy_from(Path(shutil.copytree(folder, PACKAGES / "elsewhere")))
        aws.make_bucket("logs", HOME)
        trail = aws.make_trail("audit", "logs")
        answer = aws.invoke(STACK, {"sweep": {}})
        self.assertEqual([(it["trail_arn"], it["outcome"]) for it in answer["trails"]], [(trail, "planned")], answer)
