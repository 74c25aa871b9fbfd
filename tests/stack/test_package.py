"""What `make package` makes of a build: a folder that is deployed without the sources, and tells nothing of this machine."""

import hashlib
import json
import shutil
import subprocess
import unittest
import zipfile
from pathlib import Path

from account import HOME
from cloud import STACK, open_cloud
from local import PROJECT, architecture
from packed import INTO, package


def setUpModule() -> None:
    global cloud, folder
    cloud = open_cloud("package")
    folder = package(INTO / "one")


class WhatIsInIt(unittest.TestCase):
    def test_it_has_all_that_a_deployment_needs(self):
        there = sorted(path.name for path in folder.iterdir())
        expected = ["LICENSE", "README.txt", "SHA256SUMS", "forwarder.yaml", "hub.yaml", "samconfig.toml", "stackset.json"]
        self.assertEqual(there, sorted([*expected, "template.yaml", "trailseal.cdx.json", "trailseal.zip"]))

    def test_the_sums_are_those_of_every_file(self):
        told = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
        found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        found.pop("SHA256SUMS")
        self.assertEqual(told, found)

    def test_the_zip_has_the_function_and_no_time(self):
        with zipfile.ZipFile(folder / "trailseal.zip") as archive:
            [entry] = archive.infolist()
        self.assertEqual((entry.filename, entry.date_time[:3]), ("bootstrap", (1980, 1, 1)))
        self.assertEqual(entry.external_attr >> 16, 0o100755)

    def test_nothing_in_it_tells_where_it_was_made(self):
        for path in folder.iterdir():
            self.assertNotIn(str(PROJECT).encode(), path.read_bytes(), path.name)

    def test_the_same_build_gives_the_same_files_at_another_time_and_place(self):
        again = package(INTO / "another")
        self.assertEqual((again / "SHA256SUMS").read_text(), (folder / "SHA256SUMS").read_text())


class Refused(unittest.TestCase):
    def test_without_a_build_it_says_what_makes_one(self):
        with self.assertRaises(subprocess.CalledProcessError) as caught:
            package(INTO / "empty", build=INTO / "nowhere")
        self.assertEqual(caught.exception.returncode, 1)
        self.assertIn("`sam build` makes it", caught.exception.stderr)


class Deployed(unittest.TestCase):
    def test_it_is_deployed_without_the_sources_and_sweeps(self):
        # Elsewhere, so that nothing of the sources is beside it.
        built = Path(shutil.copytree(folder, INTO / "elsewhere"))
        cloud.deploy_from(built)
        cloud.make_bucket("logs", HOME)
        trail = cloud.make_trail("audit", "logs")
        answer = cloud.invoke(STACK, {"sweep": {}})
        self.assertEqual([(it["trail_arn"], it["outcome"]) for it in answer["trails"]], [(trail, "planned")], answer)
