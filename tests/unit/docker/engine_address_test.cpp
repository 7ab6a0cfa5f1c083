#include <hf/sandbox/docker/engine_address.hpp>

#include <catch2/catch_test_macros.hpp>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace {

namespace fs = std::filesystem;
using hf::detail::docker::engine_address;

struct folder {
  folder() {
    std::string name = (fs::temp_directory_path() / "hf-sandbox-address-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  void write(fs::path const& name, std::string const& text) const {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
  }
  fs::path path;
};

engine_address find(std::map<std::string, std::string> const& variables,
                    hf::docker_options const& options = {}) {
  return hf::detail::docker::find_engine(
      options, [&](std::string const& name) -> std::optional<std::string> {
        auto const it = variables.find(name);
        return it == variables.end() ? std::nullopt : std::optional(it->second);
      });
}

hf::errc failure(std::map<std::string, std::string> const& variables,
                 hf::docker_options const& options = {}) {
  try {
    static_cast<void>(find(variables, options));
  } catch (hf::error const& e) {
    CHECK(e.hop() == hf::hop::docker);
    return e.kind();
  }
  return hf::errc{};
}

}  // namespace

TEST_CASE("docker address: without any setting it is the system's socket") {
  folder home;
  auto const address = find({{"HOME", home.path.string()}});
  CHECK(address.unix_socket == "/var/run/docker.sock");
  CHECK(address.url == "http://localhost");
}

TEST_CASE("docker address: DOCKER_HOST may be a unix socket, tcp or http") {
  CHECK(find({{"DOCKER_HOST", "unix:///run/x.sock"}}).unix_socket == "/run/x.sock");
  CHECK(find({{"DOCKER_HOST", "tcp://10.0.0.5:2375"}}).url == "http://10.0.0.5:2375");
  CHECK(find({{"DOCKER_HOST", "tcp://10.0.0.5"}}).url == "http://10.0.0.5:2375");
  CHECK(find({{"DOCKER_HOST", "tcp://[::1]"}}).url == "http://[::1]:2375");
  CHECK(find({{"DOCKER_HOST", "http://host:80/"}}).url == "http://host:80");
  CHECK(find({{"DOCKER_HOST", "tcp://10.0.0.5:2375"}}).origin == "DOCKER_HOST");
}

TEST_CASE("docker address: an explicit host wins over the environment") {
  hf::docker_options options;
  options.host = "unix:///mine.sock";
  CHECK(find({{"DOCKER_HOST", "tcp://other:1"}}, options).unix_socket == "/mine.sock");
}

TEST_CASE("docker address: DOCKER_TLS_VERIFY turns tcp into https with the certificates") {
  folder certs;
  certs.write("ca.pem", "x");
  certs.write("cert.pem", "x");
  certs.write("key.pem", "x");
  auto const address = find({{"DOCKER_HOST", "tcp://engine:4243"},
                             {"DOCKER_TLS_VERIFY", "1"},
                             {"DOCKER_CERT_PATH", certs.path.string()}});
  CHECK(address.url == "https://engine:4243");
  CHECK(address.tls.ca_file == (certs.path / "ca.pem").string());
  CHECK(address.tls.cert_file == (certs.path / "cert.pem").string());
  CHECK(address.tls.key_file == (certs.path / "key.pem").string());
}

TEST_CASE("docker address: TLS without ca.pem is an error that names the file") {
  folder certs;
  std::map<std::string, std::string> const variables{{"DOCKER_HOST", "tcp://engine:2376"},
                                                     {"DOCKER_TLS_VERIFY", "1"},
                                                     {"DOCKER_CERT_PATH", certs.path.string()}};
  CHECK(failure(variables) == hf::errc::tls_failed);
  try {
    static_cast<void>(find(variables));
  } catch (hf::error const& e) {
    CHECK(std::string(e.what()).find((certs.path / "ca.pem").string()) != std::string::npos);
  }
}

TEST_CASE("docker address: the current context of the docker configuration is used") {
  folder home;
  auto const key = hf::detail::sha256_hex("work");
  home.write(".docker/config.json", R"({"currentContext":"work","auths":{}})");
  home.write(".docker/contexts/meta/" + key + "/meta.json",
             R"({"Name":"work","Endpoints":{"docker":{"Host":"tcp://work:2376"}}})");
  std::map<std::string, std::string> variables{{"HOME", home.path.string()}};
  SECTION("without certificates it is plain, as the docker command does") {
    variables["DOCKER_CONTEXT"] = "work";
  }
  SECTION("with the context's own certificates") {
    home.write(".docker/contexts/tls/" + key + "/docker/ca.pem", "x");
    auto const address = find(variables);
    CHECK(address.url == "https://work:2376");
    CHECK(address.tls.ca_file.find(key) != std::string::npos);
    CHECK(address.tls.cert_file.empty());
  }
  CHECK(find(variables).name == "tcp://work:2376");
  CHECK(find(variables).origin == "the docker context 'work'");

  SECTION("DOCKER_HOST overrides the context") {
    variables["DOCKER_HOST"] = "unix:///other.sock";
    CHECK(find(variables).unix_socket == "/other.sock");
  }
  SECTION("the context 'default' means no context") {
    variables["DOCKER_CONTEXT"] = "default";
    CHECK(find(variables).origin == "the default");
  }
  SECTION("an unknown context is an error") {
    variables["DOCKER_CONTEXT"] = "nowhere";
    CHECK(failure(variables) == hf::errc::not_found);
  }
}

TEST_CASE("docker address: a context that skips verification is refused") {
  folder home;
  auto const key = hf::detail::sha256_hex("lax");
  home.write(".docker/contexts/meta/" + key + "/meta.json",
             R"({"Endpoints":{"docker":{"Host":"tcp://lax:2376","SkipTLSVerify":true}}})");
  CHECK(failure({{"HOME", home.path.string()}, {"DOCKER_CONTEXT", "lax"}}) ==
        hf::errc::unsupported);
}

TEST_CASE("docker address: what is not spoken here is refused with a reason") {
  CHECK(failure({{"DOCKER_HOST", "ssh://me@host"}}) == hf::errc::unsupported);
  CHECK(failure({{"DOCKER_HOST", "npipe:////./pipe/docker"}}) == hf::errc::unsupported);
  CHECK(failure({{"DOCKER_HOST", "/var/run/docker.sock"}}) == hf::errc::invalid_argument);
  CHECK(failure({{"DOCKER_HOST", "unix://"}}) == hf::errc::invalid_argument);
}

TEST_CASE("docker address: broken configuration files count as none") {
  folder home;
  home.write(".docker/config.json", "{not json");
  CHECK(find({{"HOME", home.path.string()}}).origin == "the default");
}

TEST_CASE("docker address: a directory in place of the configuration file counts as none") {
  folder home;
  std::filesystem::create_directories(home.path / ".docker" / "config.json");
  CHECK(find({{"HOME", home.path.string()}}).origin == "the default");
}
