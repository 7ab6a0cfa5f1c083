#include "support/agent_endpoint.hpp"
#include "support/exec_client.hpp"
#include "support/faulty_proxy.hpp"
#include "support/scale.hpp"

#include <hf/sandbox/agent/exec.hpp>
#include <hf/sandbox/agent/spawn.hpp>
#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/process.hpp>
#include <hf/sandbox/transports/curl.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace hf::testing_support;
using hf::errc;

TEST_CASE("child: follows a command and writes its output into a file", "[.child]") {
  hf::curl_transport transport;
  hf::endpoint to;
  to.url = "http://localhost";
  to.headers.add("X-Sandbox-Token", std::getenv("HF_SANDBOX_TEST_TOKEN"));
  to.unix_socket = std::getenv("HF_SANDBOX_TEST_SOCKET");
  hf::agent_client<hf::curl_transport> client(transport, to);
  std::ofstream file(std::getenv("HF_SANDBOX_TEST_FILE"), std::ios::binary);
  hf::exec_options options;
  options.operation_id = std::getenv("HF_SANDBOX_TEST_OPERATION");
  options.on_stdout = [&](std::string_view text) { file << text << std::flush; };
  hf::detail::exec(client, hf::shell(std::getenv("HF_SANDBOX_TEST_SCRIPT")), options, {});
}

TEST_CASE("a program that was killed is gone on with by another one") {
  int const rounds = scaled(30, 2);
  std::fprintf(stderr, "killed programs: %d\n", rounds);
  agent_process agent;
  hf::curl_transport transport;
  hf::agent_client<hf::curl_transport> client(transport, endpoint_of(agent));
  auto const self = std::filesystem::read_symlink("/proc/self/exe").string();
  for (int round = 0; round < rounds; ++round) {
    std::string const base = agent.directory() + "/round-" + std::to_string(round);
    hf::run_handle handle;
    handle.operation_id = hf::detail::random_hex(16);
    std::vector<std::string> variables = {
        "HF_SANDBOX_TEST_TOKEN=" + agent.token(), "HF_SANDBOX_TEST_SOCKET=" + agent.socket_path(),
        "HF_SANDBOX_TEST_FILE=" + base + ".out", "HF_SANDBOX_TEST_OPERATION=" + handle.operation_id,
        "HF_SANDBOX_TEST_SCRIPT=echo run >> '" + base + ".ledger'; n=0; while [ ! -e '" + base +
            ".gate' ]; do echo line $n; n=$((n+1)); sleep 0.002; done; echo end; exit 5"};
    pid_t const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (auto& variable : variables)
        ::putenv(variable.data());
      int const null = ::open("/dev/null", O_WRONLY);
      ::dup2(null, STDOUT_FILENO);
      ::execl(self.c_str(), self.c_str(),
              "child: follows a command and writes its output into a file", nullptr);
      ::_exit(127);
    }
    std::error_code none;
    while (std::filesystem::file_size(base + ".out", none) == static_cast<std::uintmax_t>(-1) ||
           std::filesystem::file_size(base + ".out", none) < 50u * round + 1) {
      REQUIRE(::waitpid(child, nullptr, WNOHANG) == 0);
      std::this_thread::sleep_for(1ms);
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    std::ofstream(base + ".gate").close();

    auto const result = hf::detail::attach(client, handle, {}, {});
    CHECK(result.exit_code == 5);
    std::string expected;
    for (int n = 0; expected.size() + 4 < result.out.size(); ++n)
      expected += "line " + std::to_string(n) + "\n";
    CHECK(result.out == expected + "end\n");
    std::ifstream in(base + ".out", std::ios::binary);
    std::string const seen((std::istreambuf_iterator<char>(in)), {});
    CHECK(result.out.starts_with(seen));
    std::ifstream ledger(base + ".ledger");
    CHECK(std::string((std::istreambuf_iterator<char>(ledger)), {}) == "run\n");
  }
}

TEST_CASE("a caller that breaks off goes on behind the last record that he was given") {
  agent_process agent;
  hf::curl_transport transport;
  hf::agent_client<hf::curl_transport> client(transport, endpoint_of(agent));
  std::string const gate = agent.directory() + "/gate";
  auto const command = hf::shell("echo before; while [ ! -e '" + gate +
                                 "' ]; do sleep 0.02; done; echo after; exit 5");
  hf::run_handle handle;
  hf::exec_options options;
  options.when_stopped = hf::on_stop::abandon;
  std::stop_source stop;
  options.stop = stop.get_token();
  options.on_stdout = [&](std::string_view) { stop.request_stop(); };
  options.capture = true;
  try {
    hf::detail::exec(client, command, options, {});
    FAIL("the command was not abandoned");
  } catch (hf::run_interrupted const& e) {
    CHECK(e.kind() == errc::cancelled);
    CHECK(e.out() == "before\n");
    handle = e.handle();
  }
  std::ofstream(gate).close();
  auto const result = hf::detail::attach(client, handle, {}, {});
  CHECK(result.out == "after\n");
  CHECK(result.exit_code == 5);
}

TEST_CASE("a silent connection is given up by missing pings and made anew") {
  agent_process agent;
  faulty_proxy proxy(agent.directory() + "/proxy.sock", agent.socket_path(), [&](int connection) {
    connection_fault fault;
    if (connection == 0) {
      fault.what = connection_fault::kind::stall;
      fault.after = 400;
    }
    return fault;
  });
  hf::curl_transport transport;
  hf::agent_client<hf::curl_transport> client(transport, endpoint_of(agent, proxy.path()));
  hf::exec_options options;
  options.stall_timeout = 500ms;
  auto const result = hf::detail::exec(
      client, hf::shell("n=0; while [ $n -lt 100 ]; do echo $n; n=$((n+1)); done"), options, {});
  std::string expected;
  for (int n = 0; n < 100; ++n)
    expected += std::to_string(n) + "\n";
  CHECK(result.out == expected);
  CHECK(proxy.struck() == 1);
}

TEST_CASE("cancelling an exec kills its tree and returns what there was") {
  agent_process agent;
  hf::curl_transport transport;
  hf::agent_client<hf::curl_transport> client(transport, endpoint_of(agent));
  std::stop_source stop;
  hf::exec_options options;
  options.stop = stop.get_token();
  options.on_stdout = [&](std::string_view) { stop.request_stop(); };
  options.capture = true;
  // An argument that no other process of this machine has.
  std::string const duration = "1000." + std::to_string(agent.pid());
  std::string const sleeper = "sleep " + duration;
  auto const begun = std::chrono::steady_clock::now();
  auto const result = hf::detail::exec(
      client, hf::shell("echo begun; setsid " + sleeper + " & " + sleeper), options, {});
  CHECK(result.cancelled);
  CHECK(result.out == "begun\n");
  CHECK(std::chrono::steady_clock::now() - begun < 30s);
  CHECK(count_processes(duration) == 0);
}

TEST_CASE("output of any size passes a reader that is slow now and then, with nothing missing") {
  std::uint64_t const size =
      scaled<std::uint64_t>(std::uint64_t{10'000'000'000}, std::uint64_t{60'000'000});
  int const slow_records = scaled(10, 1);
  std::fprintf(stderr, "output through one exec: %llu bytes\n",
               static_cast<unsigned long long>(size));
  agent_process agent;
  hf::curl_transport transport;
  hf::agent_client<hf::curl_transport> client(transport, endpoint_of(agent));
  auto const memory = [&] {
    std::ifstream in("/proc/" + std::to_string(agent.pid()) + "/statm");
    std::size_t total = 0;
    std::size_t resident = 0;
    in >> total >> resident;
    return resident * 4096;
  };
  auto const before = memory();
  std::size_t most = before;
  std::string const line = "0123456789abcde\n";
  std::string pattern;
  while (pattern.size() < (1u << 20))
    pattern += line;
  std::uint64_t got = 0;
  bool same = true;
  int calls = 0;
  int slow = 0;
  hf::exec_options options;
  options.capture = false;
  options.on_stdout = [&](std::string_view text) {
    auto const at = static_cast<std::size_t>(got % line.size());
    same = same && text.size() + line.size() <= pattern.size() &&
           std::string_view(pattern).substr(at, text.size()) == text;
    got += text.size();
    if (++calls % 256 == 0)
      most = (std::max)(most, memory());
    // 64 KB/s for a while, at a quarter, at half and at three quarters.
    if (got * 4 / size * static_cast<std::uint64_t>(slow_records) >
        static_cast<std::uint64_t>(slow)) {
      ++slow;
      std::this_thread::sleep_for(std::chrono::microseconds(text.size() * 1'000'000 / 65'536));
      most = (std::max)(most, memory());
    }
  };
  auto const result = hf::detail::exec(
      client, hf::shell("yes 0123456789abcde | head -c " + std::to_string(size) + "; exit 5"),
      options, {});
  std::fprintf(stderr, "agent memory: %zu MiB at first, %zu MiB at most\n", before >> 20,
               most >> 20);
  CHECK(got == size);
  CHECK(same);
  CHECK(slow >= 3 * slow_records);
  CHECK(result.exit_code == 5);
  CHECK(result.dropped_bytes == 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(most < before + (64u << 20));
#endif
}

TEST_CASE("output that nobody read in time is said to be gone, and the rest can be had") {
  std::uint64_t const size = scaled<std::uint64_t>(std::uint64_t{2} << 30, std::uint64_t{60} << 20);
  std::uint64_t const limit = scaled<std::uint64_t>(64u << 20, 4u << 20);
  std::fprintf(stderr, "unattended output: %llu bytes\n", static_cast<unsigned long long>(size));
  agent_process agent({.env = {{"SBX_SPILL_LIMIT", std::to_string(limit)}}});
  hf::curl_transport transport;
  auto const to = endpoint_of(agent);
  auto const client = std::make_shared<hf::agent_client<hf::curl_transport>>(transport, to);
  auto const started = hf::detail::spawn(
      *client, hf::shell("yes 0123456789abcde | head -c " + std::to_string(size) + "; exit 3"), {});
  hf::basic_process<hf::curl_transport> process(client, {}, started.handle, started.pid);
  CHECK(process.wait().exit_code == 3);
  hf::follow_options options;
  options.capture_limit = size;
  std::uint64_t after = 0;
  try {
    process.follow(options);
    FAIL("nothing is gone");
  } catch (hf::run_interrupted const& e) {
    CHECK(e.kind() == errc::output_gone);
    CHECK(e.out().empty());
    after = e.handle().last_seq;
  }
  CHECK(after > 0);
  auto const rest = process.follow(options, after);
  CHECK(rest.exit_code == 3);
  CHECK(rest.out.size() >= limit / 2);
  CHECK(rest.out.size() + rest.dropped_bytes == size);
  CHECK(rest.out.ends_with("0123456789abcde\n"));
}

TEST_CASE("a restarted agent's processes are not taken for those of the one before") {
  auto agent = std::make_unique<agent_process>();
  std::string const directory = agent->directory() + "-kept";
  std::filesystem::create_directory(directory);
  std::string const link = directory + "/agent.sock";
  std::filesystem::create_symlink(agent->socket_path(), link);
  hf::curl_transport transport;
  hf::endpoint const to = endpoint_of(*agent, link);
  auto const health = hf::detail::probe_health(transport, to, 5s, {});
  auto const client = std::make_shared<hf::agent_client<hf::curl_transport>>(transport, to, health);
  auto const started = hf::detail::spawn(*client, {"sleep", "1000"}, {});
  hf::basic_process<hf::curl_transport> process(client, {}, started.handle, started.pid);
  CHECK(process.id() == "p-0");

  agent = std::make_unique<agent_process>();
  std::filesystem::remove(link);
  std::filesystem::create_symlink(agent->socket_path(), link);
  hf::agent_client<hf::curl_transport> other(transport, to);
  auto const stranger = hf::detail::spawn(other, {"sleep", "1000"}, {});
  REQUIRE(stranger.handle.process_id == "p-0");
  auto const kind_of = [](auto&& call) {
    try {
      call();
    } catch (hf::error const& e) {
      return e.kind();
    }
    return errc{};
  };
  CHECK(kind_of([&] { process.wait(); }) == errc::op_unknown);
  CHECK(kind_of([&] { process.signal(SIGKILL); }) == errc::op_unknown);
  CHECK(kind_of([&] { process.kill(); }) == errc::op_unknown);
  CHECK(kind_of([&] { process.follow(); }) == errc::op_unknown);
  CHECK(kind_of([&] { process.output(); }) == errc::op_unknown);
  auto const listed = hf::detail::list_processes(other, {});
  REQUIRE(listed.size() == 1);
  CHECK(listed[0].running);
  std::filesystem::remove_all(directory);
}
