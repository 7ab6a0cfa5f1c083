#include "support/agent_process.hpp"
#include "support/elf.hpp"

#include <catch2/catch_test_macros.hpp>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

using namespace hf::testing_support;
namespace fs = std::filesystem;

namespace {

// A directory that is to be a root file system, with nothing in it but the agent.
struct root_directory {
  root_directory() {
    char pattern[] = "/tmp/hf-agent-root-XXXXXX";
    if (::mkdtemp(pattern) == nullptr)
      throw std::runtime_error("mkdtemp failed");
    path = pattern;
    fs::permissions(path, fs::perms(0755));
    fs::copy_file(std::getenv("HF_SANDBOX_AGENT"), path / "hf-sandbox-agent");
  }
  ~root_directory() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  // Copies a program or library to where it is in this machine.
  void add(fs::path const& file) {
    auto const target = path / file.relative_path();
    fs::create_directories(target.parent_path());
    fs::copy_file(file, target, fs::copy_options::overwrite_existing);
  }
  fs::path path;
};

void require_chroot() {
  if (::geteuid() != 0)
    SKIP("chroot needs root");
  if (!is_static_program(std::getenv("HF_SANDBOX_AGENT")))
    SKIP("this build of the agent is not static");
}

agent_options inside(root_directory const& root) {
  agent_options options;
  options.tcp = true;
  options.prefix = {"chroot", root.path.string()};
  options.binary = "/hf-sandbox-agent";
  return options;
}

struct outcome {
  std::string out;
  int exit_code = -1;
};

outcome run(agent_process const& agent, nlohmann::json const& cmd) {
  nlohmann::json body = nlohmann::json::object();
  body["cmd"] = cmd;
  auto connection = agent.connect();
  connection.send_request("POST", "/v1/exec", agent.token(), body.dump());
  auto const head = connection.read_head();
  INFO("status " << head.status);
  outcome result;
  while (auto const event = connection.read_event()) {
    if (event->contains("error"))
      result.out = (*event)["error"].get<std::string>();
    if (event->value("event", "") == "stdout")
      result.out += (*event)["data"].get<std::string>();
    if (event->value("event", "") == "exit")
      result.exit_code = (*event)["exit_code"].get<int>();
  }
  return result;
}

void check_files(agent_process const& agent) {
  std::string const content(200000, 'c');
  CHECK(agent.request("PUT", "/v1/files/write?path=/work/deep/file", content).status == 200);
  CHECK(agent.request("GET", "/v1/files/read?path=/work/deep/file").body == content);
  CHECK(agent.request("GET", "/v1/files/list?path=/work").json()["entries"].size() == 1);
}

}  // namespace

TEST_CASE("the agent runs in an empty root file system", "[rootfs]") {
  require_chroot();
  root_directory root;
  agent_process agent(inside(root));
  check_files(agent);
  nlohmann::json const version = {"/hf-sandbox-agent", "--version"};
  auto const result = run(agent, version);
  CHECK(result.exit_code == 0);
  CHECK(result.out.find("hf-sandbox-agent ") == 0);
  // There is no shell, and that is what the caller is told.
  auto const answer = agent.request("POST", "/v1/exec", R"({"cmd":"echo"})");
  CHECK(answer.status == 400);
  CHECK(answer.json()["code"] == "exec_failed");
  CHECK(answer.json()["stage"] == "exec");
}

TEST_CASE("the agent runs in a root file system with nothing but busybox", "[rootfs]") {
  require_chroot();
  fs::path const busybox = "/bin/busybox";
  if (!fs::exists(busybox) || !is_static_program(busybox.string()))
    SKIP("no static busybox is installed");
  root_directory root;
  fs::create_directories(root.path / "bin");
  fs::copy_file(busybox, root.path / "bin/busybox");
  for (char const* applet : {"sh", "echo", "cat", "seq", "wc"})
    fs::create_symlink("busybox", root.path / "bin" / applet);
  agent_process agent(inside(root));
  check_files(agent);
  auto const result = run(agent, "seq 1000 | wc -l; cat /work/deep/file | wc -c");
  CHECK(result.exit_code == 0);
  CHECK(result.out == "1000\n200000\n");
}

TEST_CASE("the agent runs in a root file system with a dynamic C library", "[rootfs]") {
  require_chroot();
  root_directory root;
  fs::path const shell = fs::canonical("/bin/sh");
  std::FILE* const list = ::popen(("ldd " + shell.string()).c_str(), "r");
  REQUIRE(list != nullptr);
  char line[4096];
  while (std::fgets(line, sizeof line, list) != nullptr) {
    std::string const text = line;
    auto const slash = text.find('/');
    if (slash != std::string::npos)
      root.add(text.substr(slash, text.find(' ', slash) - slash));
  }
  ::pclose(list);
  fs::create_directories(root.path / "bin");
  fs::copy_file(shell, root.path / "bin/sh");
  agent_process agent(inside(root));
  check_files(agent);
  auto const result = run(agent, "echo $((6*7)); exit 3");
  CHECK(result.out == "42\n");
  CHECK(result.exit_code == 3);

  // There is no /proc: the commands themselves are killed all the same.
  REQUIRE(::mkfifo((root.path / "gate").c_str(), 0600) == 0);
  auto const late = agent.request("POST", "/v1/exec", R"({"cmd":"read x < /gate","timeout":0.3})");
  CHECK(late.body.find(R"("signal":9,"timed_out":true})") != std::string::npos);
  auto const started = agent.request("POST", "/v1/processes", R"({"cmd":"read x < /gate"})").json();
  CHECK(agent.request("DELETE", "/v1/processes/" + started["id"].get<std::string>()).body ==
        R"({"id":"p-0","killed":true})");
  CHECK(::kill(started["pid"].get<pid_t>(), 0) != 0);
}
