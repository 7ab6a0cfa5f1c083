"""Conan 2 recipe: `conan create conan/` from a checkout."""

import re
from pathlib import Path

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, load

required_conan_version = ">=2.0"


class HfSandbox(ConanFile):
    name = "hf-sandbox"
    description = "Disposable machines for C++ programs"
    license = "Apache-2.0"
    topics = ("sandbox", "containers", "http", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"curl": [True, False], "beast": [True, False], "httplib": [True, False]}
    default_options = {"curl": True, "beast": False, "httplib": False}
    no_copy_source = True

    @property
    def checkout(self):
        return Path(self.recipe_folder).parent

    def set_version(self):
        header = load(self, str(self.checkout / "include/hf/sandbox/version.hpp"))
        self.version = re.search(r'HF_SANDBOX_VERSION_STRING "([^"]+)"', header).group(1)

    def export_sources(self):
        copy(self, "LICENSE", self.checkout, self.export_sources_folder)
        copy(self, "include/*.hpp", self.checkout, self.export_sources_folder)

    def requirements(self):
        self.requires("nlohmann_json/[>=3.10 <4]")
        self.requires("openssl/[>=1.1 <4]")
        if self.options.curl:
            self.requires("libcurl/[>=7.80 <9]")
        if self.options.beast:
            self.requires("boost/[>=1.74]", options={"header_only": True})
        if self.options.httplib:
            self.requires("cpp-httplib/[>=0.11 <1]", options={"with_openssl": True})

    def validate(self):
        check_min_cppstd(self, 20)

    def package_id(self):
        self.info.clear()

    def package(self):
        copy(self, "LICENSE", self.source_folder, str(Path(self.package_folder) / "licenses"))
        copy(self, "*.hpp", str(Path(self.source_folder) / "include"), str(Path(self.package_folder) / "include"))

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "hf_sandbox")
        core = self.cpp_info.components["core"]
        core.set_property("cmake_target_name", "hf_sandbox::core")
        core.requires = ["nlohmann_json::nlohmann_json", "openssl::crypto"]
        core.bindirs = core.libdirs = []
        if self.settings.os in ("Linux", "FreeBSD"):
            core.system_libs = ["pthread"]
        for name, needs in (
            ("curl", ["libcurl::libcurl"]),
            ("beast", ["boost::headers", "openssl::ssl"]),
            ("httplib", ["cpp-httplib::cpp-httplib", "openssl::ssl"]),
        ):
            if self.options.get_safe(name):
                part = self.cpp_info.components[name]
                part.set_property("cmake_target_name", f"hf_sandbox::{name}")
                part.requires = ["core", *needs]
                part.bindirs = part.libdirs = []
