// Starts agents by the bootstrap script for real, under the shells and tools that images have.
#include "support/fake_hub/fake_hub.hpp"

#include <hf/sandbox/agent/bootstrap.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace detail = hf::detail;
namespace fs = std::filesystem;
using hf::agent_source;
using hf::testing_support::fake_hub;
using hf::testing_support::fake_hub_options;

namespace {

/// Says how it was started.
constexpr char agent_script[] = "#!/bin/sh\necho \"up with $# arguments\"\n/usr/bin/env\n";

/// Stands for a machine: a shell, some tools, the place of the agent, a mounted bucket.
class boot_image {
 public:
  explicit boot_image(std::vector<std::string> tools, std::string shell = "/bin/dash")
      : shell_(std::move(shell)) {
    char made[] = "/tmp/bootstrap-run-XXXXXX";
    root_ = ::mkdtemp(made);
    for (char const* const part : {"bin", "tmp", "mounted"})
      fs::create_directory(root_ / part);
    for (auto const& name : tools) {
      REQUIRE(fs::exists("/usr/bin/" + name));
      fs::create_symlink("/usr/bin/" + name, root_ / "bin" / name);
    }
    std::ofstream(root_ / "agent") << agent_script;
  }
  boot_image(boot_image const&) = delete;
  boot_image& operator=(boot_image const&) = delete;
  ~boot_image() { fs::remove_all(root_); }

  [[nodiscard]] fs::path const& root() const { return root_; }
  [[nodiscard]] fs::path started() const { return root_ / "tmp" / ".sbx-server"; }
  [[nodiscard]] static std::string sha256() { return detail::sha256_hex(agent_script); }
  /// Makes the agent the bucket's content.
  void mount_agent(std::string const& name) const {
    fs::copy_file(root_ / "agent", root_ / "mounted" / name);
  }

  /// Runs the script of a source; what it printed, and its exit code. `digest` replaces the
  /// official one, which nobody here can have the bytes for.
  std::pair<std::string, int> boot(agent_source const& source, std::string const& hub,
                                   std::string const& digest = {}) const {
    auto const plan = detail::make_bootstrap(source, hub);
    auto script = plan.command[2];
    replace(script, " in /tmp /var/tmp", " in " + (root_ / "tmp").string() + " /var/tmp");
    replace(script, "/.hf-sbx-server/", (root_ / "mounted").string() + "/");
    if (!digest.empty())
      replace(script, std::string(agent_source::official_sha256), digest);
    std::string line = "env -i PATH=" + (root_ / "bin").string() +
                       " SBX_PORT=49983 SBX_SERVER_URL=http://evil.example SBX_SERVER_GOT=1 " +
                       shell_ + " -c " + detail::shell_quoted(script);
    for (auto const& word : plan.arguments)
      line += " " + detail::shell_quoted(word);
    std::string out;
    FILE* const pipe = ::popen((line + " 2>&1").c_str(), "r");
    REQUIRE(pipe != nullptr);
    char bytes[4096];
    for (std::size_t got = 0; (got = std::fread(bytes, 1, sizeof bytes, pipe)) > 0;)
      out.append(bytes, got);
    int const status = ::pclose(pipe);
    return {out, WIFEXITED(status) ? WEXITSTATUS(status) : -1};
  }

 private:
  static void replace(std::string& text, std::string const& from, std::string const& to) {
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
      text.replace(at, from.size(), to);
  }

  fs::path root_;
  std::string shell_;
};

void check_started(std::pair<std::string, int> const& result) {
  INFO(result.first);
  CHECK(result.second == 0);
  CHECK(result.first.find("up with 0 arguments\n") != std::string::npos);
  CHECK(result.first.find("SBX_PORT=49983\n") != std::string::npos);
  CHECK(result.first.find("SBX_SERVER_") == std::string::npos);
}

void check_refused(boot_image const& machine, std::pair<std::string, int> const& result,
                   std::string const& why) {
  INFO(result.first);
  CHECK(result.second == 1);
  CHECK(result.first.find(why) != std::string::npos);
  CHECK(result.first.find("up with") == std::string::npos);
  if (fs::exists(machine.started()))
    CHECK((fs::status(machine.started()).permissions() & fs::perms::owner_exec) == fs::perms::none);
}

fake_hub_options hub_with_agent_of(boot_image const& machine) {
  fake_hub_options how;
  how.agent = (machine.root() / "agent").string();
  return how;
}

std::string const wrong_digest(64, 'a');

}  // namespace

TEST_CASE("any one tool of each kind downloads, verifies and starts an agent") {
  auto const loader = GENERATE("wget", "curl");
  auto const checker = GENERATE("sha256sum", "openssl");
  INFO(loader << " and " << checker);
  boot_image const machine({"chmod", loader, checker});
  fake_hub hub(hub_with_agent_of(machine));
  check_started(machine.boot(agent_source::url(hub.agent_url(), boot_image::sha256()), hub.url()));
  check_refused(machine, machine.boot(agent_source::url(hub.agent_url(), wrong_digest), hub.url()),
                "its SHA-256 is " + boot_image::sha256() + ", expected is " + wrong_digest);
  CHECK(hub.violations() == std::vector<std::string>());
}

TEST_CASE("curl takes over when wget fails") {
  boot_image const machine({"chmod", "curl", "sha256sum"});
  std::ofstream(machine.root() / "bin" / "wget") << "#!/bin/sh\nexit 4\n";
  fs::permissions(machine.root() / "bin" / "wget", fs::perms::owner_all);
  fake_hub hub(hub_with_agent_of(machine));
  check_started(machine.boot(agent_source::url(hub.agent_url(), boot_image::sha256()), hub.url()));
}

TEST_CASE("the official agent comes from the mounted bucket when it cannot be downloaded") {
  auto const tools =
      GENERATE(std::vector<std::string>{"chmod", "sha256sum", "cp"},
               std::vector<std::string>{"chmod", "sha256sum", "cp", "wget", "curl", "sleep"});
  boot_image const machine(tools);
  machine.mount_agent("sbx-server-" + boot_image::sha256());
  // Nobody listens there.
  auto const hub = "http://127.0.0.1:9";
  check_started(machine.boot(agent_source::official(), hub, boot_image::sha256()));
  machine.mount_agent("sbx-server-" + wrong_digest);
  check_refused(machine, machine.boot(agent_source::official(), hub, wrong_digest),
                "its SHA-256 is " + boot_image::sha256());
}

TEST_CASE("the official agent is downloaded from the Hub under its digest, when that works") {
  boot_image const machine({"chmod", "sha256sum", "cp", "curl"});
  fake_hub hub(hub_with_agent_of(machine));
  check_started(machine.boot(agent_source::official(), hub.url(), boot_image::sha256()));
  REQUIRE(hub.count(hf::testing_support::hub_route::download) == 2);
  CHECK(hub.requests()[0].target ==
        "/buckets/huggingface/sbx-server/resolve/sbx-server-" + boot_image::sha256());
}

TEST_CASE("an agent on a volume is copied, and needs nothing to download with") {
  boot_image const machine({"chmod", "sha256sum", "cp"});
  machine.mount_agent("agent");
  auto const at = [&](std::string const& digest) {
    return agent_source::volume({"bucket", "me/private", (machine.root() / "mounted").string()},
                                "agent", digest);
  };
  check_started(machine.boot(at(boot_image::sha256()), "http://127.0.0.1:9"));
  check_refused(machine, machine.boot(at(wrong_digest), "http://127.0.0.1:9"), "its SHA-256 is");
  check_refused(
      machine,
      machine.boot(agent_source::volume({"bucket", "me/private", "/none"}, "agent", wrong_digest),
                   "http://127.0.0.1:9"),
      "could not be fetched from /none/agent");
}

TEST_CASE("an inline agent is unpacked") {
  boot_image const machine({"chmod", "sha256sum", "base64", "gzip"});
  check_started(machine.boot(agent_source::inline_(agent_script), "http://127.0.0.1:9"));
}

TEST_CASE("busybox alone is enough for every source") {
  if (!fs::exists("/usr/bin/busybox"))
    SKIP("no busybox");
  // Its shell knows all its tools without a PATH, among them a wget that may lack timeouts.
  boot_image const machine({}, "/usr/bin/busybox sh");
  fake_hub hub(hub_with_agent_of(machine));
  machine.mount_agent("agent");
  check_started(machine.boot(agent_source::url(hub.agent_url(), boot_image::sha256()), hub.url()));
  check_refused(machine, machine.boot(agent_source::url(hub.agent_url(), wrong_digest), hub.url()),
                "its SHA-256 is");
  check_started(machine.boot(agent_source::inline_(agent_script), hub.url()));
  check_started(machine.boot(
      agent_source::volume({"bucket", "me/private", (machine.root() / "mounted").string()}, "agent",
                           boot_image::sha256()),
      hub.url()));
}
