#include "support/exec_client.hpp"

#include <catch2/catch_test_macros.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

using namespace hf::testing_support;
using nlohmann::json;

TEST_CASE("a command's output, error output and exit code arrive", "[exec]") {
  agent_process agent;
  auto const plain = exec(agent, {{"cmd", "echo out; echo err >&2; exit 3"}});
  CHECK(plain.out == "out\n");
  CHECK(plain.err == "err\n");
  CHECK(plain.code() == 3);
  CHECK(plain.complete);
  CHECK(plain.seqs.empty());
  CHECK_FALSE(plain.start.contains("id"));
  auto const numbered = exec(agent, {{"cmd", json::array({"/bin/echo", "x"})}, {"v", 2}});
  CHECK(numbered.out == "x\n");
  CHECK(numbered.seqs == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("a signalled command has a signal and no exit code", "[exec]") {
  agent_process agent;
  auto const killed = exec(agent, {{"cmd", "kill -15 $$"}});
  CHECK(killed.exit["exit_code"].is_null());
  CHECK(killed.exit["signal"] == 15);
}

TEST_CASE("a command that cannot be started says which step failed, and nothing runs", "[exec]") {
  agent_process agent;
  auto const unknown = exec(agent, {{"cmd", json::array({"no-such-program"})}});
  CHECK(unknown.status == 400);
  CHECK(unknown.error["error"] ==
        "failed to spawn 'no-such-program': No such file or directory (os error 2)");
  CHECK(unknown.error["code"] == "exec_failed");
  CHECK(unknown.error["stage"] == "exec");
  CHECK(unknown.error["errno"] == 2);
  auto const nowhere = exec(agent, {{"cmd", "true"}, {"cwd", "/no/such"}});
  CHECK(nowhere.error["stage"] == "chdir");
  CHECK(nowhere.error["error"] ==
        "failed to spawn '/bin/sh': No such file or directory (os error 2)");
  std::string const plain = agent.directory() + "/not-executable";
  std::ofstream(plain) << "text\n";
  auto const forbidden = exec(agent, {{"cmd", json::array({plain})}});
  CHECK(forbidden.error["errno"] == 13);
  auto const helped =
      exec(agent, {{"cmd", json::array({"no-such-program"})}, {"op", std::string(32, 'a')}});
  CHECK(helped.status == 400);
  CHECK(helped.error["stage"] == "exec");
  auto const limits =
      exec(agent, {{"cmd", "true"}, {"rlimits", {{"nofile", 18446744073709551615u}}}});
  CHECK(limits.error["stage"] == "limits");
  auto const longest =
      exec(agent, {{"cmd", json::array({"/bin/echo", std::string(200'000, 'a')})}});
  CHECK(longest.status == 400);
  CHECK(longest.error["errno"] == 7);
}

TEST_CASE("a shell command longer than an argument may be runs all the same", "[exec]") {
  agent_process agent;
  auto const run = exec(agent, {{"cmd", "X=" + std::string(300'000, 'a') + "; echo ${#X} $0 $#"}});
  CHECK(run.out == "300000 /bin/sh 0\n");
}

TEST_CASE("a command has its environment, directory, limits, and not the agent's token", "[exec]") {
  agent_options options;
  options.env["KEPT"] = "kept";
  options.env["CHANGED"] = "old";
  agent_process agent(options);
  auto const run = exec(agent, {{"cmd",
                                 "echo $KEPT $CHANGED ${SBX_TOKEN:-none}; pwd; ulimit -n; nice; "
                                 "readlink /proc/self/fd/0; ls /proc/self/fd | wc -l"},
                                {"env", {{"CHANGED", "new"}}},
                                {"cwd", "/usr"},
                                {"rlimits", {{"nofile", 99}}},
                                {"nice", 3}});
  // `ls` itself has the directory open.
  CHECK(run.out == "kept new none\n/usr\n99\n3\n/dev/null\n4\n");
  CHECK(exec(agent, {{"cmd", "true"}, {"rlimits", {{"chairs", 1}}}}).status == 400);
}

TEST_CASE("signals are at their defaults and unblocked in a command", "[exec]") {
  agent_process agent;
  auto const run = exec(agent, {{"cmd", json::array({"grep", "^Sig[BI]", "/proc/self/status"})}});
  CHECK(run.out.find("SigBlk:\t0000000000000000") != std::string::npos);
  CHECK(run.out.find("SigIgn:\t0000000000000000") != std::string::npos);
}

TEST_CASE("a program is searched in the PATH that the command has", "[exec]") {
  agent_process agent;
  std::string const script = agent.directory() + "/my-tool";
  std::ofstream(script) << "echo no interpreter line $1\n";
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  auto const run = exec(agent, {{"cmd", json::array({"my-tool", "works"})},
                                {"env", {{"PATH", "/nowhere:" + agent.directory()}}}});
  CHECK(run.out == "no interpreter line works\n");
}

TEST_CASE("a command runs as another user when the agent may", "[exec]") {
  agent_process agent;
  auto const run = exec(agent, {{"cmd", "id -u; id -g; id -G"}, {"user", "4711:4712"}});
  if (::geteuid() == 0) {
    CHECK(run.out == "4711\n4712\n4712\n");
    CHECK(exec(agent, {{"cmd", "id -un"}, {"user", "nobody"}}).out == "nobody\n");
  } else {
    CHECK(run.error["stage"] == "user");
  }
  CHECK(exec(agent, {{"cmd", "true"}, {"user", "no-such-user"}}).error["stage"] == "user");
}

TEST_CASE("malformed requests change nothing", "[exec]") {
  agent_process agent;
  for (char const* body :
       {"{", "{}", R"({"cmd":[]})", R"({"cmd":"touch made","env":{"A":null}})",
        R"({"cmd":"touch made","timeout":-1})", R"({"cmd":"touch made\u0000"})"}) {
    INFO(body);
    auto const answer = agent.request("POST", "/v1/exec", body);
    CHECK(answer.status == 400);
    CHECK(answer.json()["code"] == "invalid_argument");
  }
  CHECK_FALSE(std::filesystem::exists(agent.directory() + "/made"));
}

TEST_CASE("out of processes is a 503 for one request, and nothing runs", "[exec]") {
  if (::geteuid() != 0)
    SKIP("the number of processes can be limited for a user that has no others");
  if (::access("/usr/bin/setpriv", X_OK) != 0)
    SKIP("setpriv is not installed");
  char pattern[] = "/tmp/hf-agent-user-XXXXXX";
  REQUIRE(::mkdtemp(pattern) != nullptr);
  std::string const home = pattern;
  std::filesystem::permissions(home, std::filesystem::perms(0755));
  agent_options options;
  options.tcp = true;
  options.binary = home + "/agent";
  std::filesystem::copy_file(std::getenv("HF_SANDBOX_AGENT"), options.binary);
  options.prefix = {"prlimit",       "--nproc=16:16", "/usr/bin/setpriv",
                    "--reuid=54321", "--regid=54321", "--clear-groups"};
  options.cwd = "/";
  {
    agent_process agent(options);
    std::string const sleeper = unique_sleep();
    std::size_t started = 0;
    std::optional<http_answer> refused;
    for (int i = 0; i < 20 && !refused; ++i) {
      auto answer =
          agent.request("POST", "/v1/processes", json({{"cmd", "exec " + sleeper}}).dump());
      if (answer.status == 200)
        ++started;
      else
        refused = std::move(answer);
    }
    REQUIRE(refused);
    CHECK(started > 0);
    CHECK(refused->status == 503);
    CHECK(refused->json()["code"] == "resource_exhausted");
    CHECK(refused->json()["stage"] == "fork");
    CHECK(refused->json()["errno"] == EAGAIN);
    CHECK(refused->json()["error"] ==
          "failed to spawn '/bin/sh': Resource temporarily unavailable (os error 11)");
    CHECK(agent.request("GET", "/v1/processes").json().size() == started);
    CHECK(eventually([&] { return count_processes(sleeper) == started; }));
    CHECK(agent.request("DELETE", "/v1/processes/p-0").json()["killed"] == true);
    CHECK(eventually([&] { return exec(agent, {{"cmd", "exit 6"}}).status == 200; }));
  }
  std::filesystem::remove_all(home);
}

TEST_CASE("a machine at its limits is a 503 for one request", "[exec]") {
  agent_options options;
  options.prefix = {"/bin/sh", "-c", "ulimit -n 24; exec \"$@\"", "sh"};
  agent_process agent(options);
  std::vector<running_exec> running;
  std::optional<exec_outcome> refused;
  for (int i = 0; i < 12 && !refused; ++i) {
    raw_http connection = agent.connect();
    connection.send_request("POST", "/v1/exec", agent.token(), R"({"cmd":"sleep 100"})");
    http_answer answer;
    try {
      answer = connection.read_head();
    } catch (std::runtime_error const&) {
      break;  // out of connections before it was out of pipes
    }
    if (answer.status == 200) {
      auto start = connection.read_event().value();
      running.push_back({std::move(connection), std::move(start)});
      continue;
    }
    CHECK(answer.status == 503);
    refused.emplace();
  }
  running.clear();
  CHECK(eventually([&] {
    try {
      return exec(agent, {{"cmd", "true"}}).status == 200;
    } catch (std::runtime_error const&) {
      return false;
    }
  }));
}

TEST_CASE("a body's cost does not grow with the number of its pieces or values", "[exec]") {
  agent_process agent;
  // Every byte a chunk, and every value an object: both took minutes when each was paid for anew
  // with every other.
  std::string body = R"({"cmd":"echo done","later":[{})";
  for (int i = 0; i < 200'000; ++i)
    body += ",{}";
  body += "]}";
  std::string chunks;
  for (char const c : body)
    chunks.append("1\r\n").append(1, c).append("\r\n");
  raw_http connection = agent.connect();
  connection.send("POST /v1/exec HTTP/1.1\r\nHost: a\r\nX-Sandbox-Token: " + agent.token() +
                  "\r\nTransfer-Encoding: chunked\r\n\r\n");
  connection.send(chunks + "0\r\n\r\n");
  REQUIRE(connection.read_head().status == 200);
  exec_outcome outcome;
  collect_events(connection, outcome);
  CHECK(outcome.out == "done\n");
}

TEST_CASE("numbers and booleans of the environment reach the command as text", "[exec]") {
  agent_process agent;
  CHECK(exec(agent, {{"cmd", "echo $N $F $T"}, {"env", {{"N", 7}, {"F", 0.5}, {"T", true}}}}).out ==
        "7 0.5 true\n");
  CHECK(exec(agent, {{"cmd", "true"}, {"env", {{"N", nullptr}}}}).status == 400);
}

TEST_CASE("a program that the kernel refuses is never handed to a shell, and the error says why",
          "[exec]") {
  agent_process agent;
  auto const make = [&](std::string const& name, std::string_view content, mode_t mode = 0755) {
    std::string const path = agent.directory() + "/" + name;
    std::ofstream(path, std::ios::binary) << content;
    ::chmod(path.c_str(), mode);
    return path;
  };
  auto const refused = [&](std::string const& path, int error, std::string const& why) {
    INFO(path);
    auto const run = exec(agent, {{"cmd", json::array({path})}});
    REQUIRE(run.status == 400);
    CHECK(run.error["code"] == "exec_failed");
    CHECK(run.error["stage"] == "exec");
    CHECK(run.error["errno"] == error);
    std::string const text = run.error["error"];
    CHECK(text.starts_with("failed to spawn '" + path + "': "));
    CHECK(text.find(why) != std::string::npos);
  };
  std::string foreign(
      "\x7f"
      "ELF\x02\x01\x01",
      7);
  foreign.resize(64);
  foreign[16] = 2;
  foreign[18] = char(0xf3);  // a machine that is not ours
  refused(make("foreign", foreign), ENOEXEC, "for this machine");
  refused(make("empty", ""), ENOEXEC, "empty");
  refused(make("no-interpreter", "#!/no/such/interpreter\n"), ENOENT, "interpreter");
  refused(make("no-mode", "#!/bin/sh\n", 0644), EACCES, "chmod +x");
  refused(agent.directory(), EACCES, "directory");
  std::string const loop = agent.directory() + "/loop";
  REQUIRE(::symlink(loop.c_str(), loop.c_str()) == 0);
  refused(loop, ELOOP, "symbolic links");
  std::string const busy = agent.directory() + "/busy";
  std::filesystem::copy_file(std::filesystem::canonical("/bin/true"), busy);
  {
    std::ofstream const writer(busy, std::ios::binary | std::ios::app);
    refused(busy, ETXTBSY, "open for writing");
  }
  CHECK(exec(agent, {{"cmd", json::array({busy})}}).code() == 0);
  // A script without a first line that names an interpreter is the shell's, as ever.
  CHECK(exec(agent, {{"cmd", json::array({make("script", "echo $0-$1\n"), "x"})}}).out ==
        agent.directory() + "/script-x\n");
  CHECK(exec(agent, {{"cmd", json::array({make("binary-tail", "exit 5\n" + foreign)})}}).code() ==
        5);
}

TEST_CASE("another user can open his standard streams, and is at home", "[exec]") {
  if (::geteuid() != 0)
    SKIP("needs root");
  agent_process agent;
  std::string const script =
      "echo out > /dev/stdout; echo err > /dev/stderr; echo three > /dev/fd/1; cat /dev/stdin; "
      "echo $HOME";
  auto const run = exec(agent, {{"cmd", script}, {"user", "4711"}, {"stdin", "in\n"}});
  CHECK(run.out == "out\nthree\nin\n/\n");
  CHECK(run.err == "err\n");
  CHECK(exec(agent, {{"cmd", "echo $HOME"}, {"user", "root"}}).out == "/root\n");
  CHECK(exec(agent, {{"cmd", "echo $HOME"}, {"user", "root"}, {"env", {{"HOME", "/x"}}}}).out ==
        "/x\n");
  CHECK(exec(agent, {{"cmd", "cat /dev/stdin; echo $?"}, {"user", "4711"}}).out == "0\n");
}
