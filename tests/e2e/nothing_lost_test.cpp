#include "support/agent_process.hpp"
#include "support/faulty_proxy.hpp"
#include "support/sandbox_types.hpp"
#include "support/scale.hpp"

#include <hf/sandbox/agent/exec.hpp>
#include <hf/sandbox/agent/spawn.hpp>
#include <hf/sandbox/files.hpp>
#include <hf/sandbox/process.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using hf::errc;
using hf::testing_support::agent_process;
using hf::testing_support::connection_fault;
using hf::testing_support::faulty_proxy;
using hf::testing_support::scaled;

namespace {

hf::endpoint endpoint_of(agent_process const& agent, std::string socket) {
  hf::endpoint to;
  to.url = "http://localhost";
  to.headers.add("X-Sandbox-Token", agent.token());
  to.unix_socket = std::move(socket);
  return to;
}

/// What the command of run `i` prints: text and bytes that are no UTF-8, of a length that varies.
std::string expected_output(int i, int lines) {
  std::string text;
  for (int line = 0; line < lines; ++line)
    text += "run " + std::to_string(i) + " line " + std::to_string(line) + " \xc3\xa9\xff\n";
  return text;
}

/// Appends its number to the ledger, then prints.
hf::command counted_command(std::string const& ledger, int i, int lines) {
  return hf::shell("echo " + std::to_string(i) + " >> '" + ledger + "'; n=0; while [ $n -lt " +
                   std::to_string(lines) + " ]; do printf 'run " + std::to_string(i) +
                   " line '$n' \\303\\251\\377\\n'; n=$((n+1)); done; exit " +
                   std::to_string(i % 7));
}

std::map<int, int> read_ledger(std::string const& path) {
  std::map<int, int> runs;
  std::ifstream in(path);
  for (int i = 0; in >> i;)
    ++runs[i];
  return runs;
}

/// How many live processes were started with this very argument.
int processes_with_argument(std::string const& argument) {
  int count = 0;
  for (auto const& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream in(entry.path() / "cmdline", std::ios::binary);
    std::string word;
    while (std::getline(in, word, '\0'))
      count += word == argument ? 1 : 0;
  }
  return count;
}

}  // namespace

TEMPLATE_TEST_CASE("calls have one effect and lose no byte over connections that break anywhere",
                   "", HF_SANDBOX_TEST_TRANSPORTS) {
  int const runs = scaled(3'400, 120);
  std::fprintf(stderr, "broken connections: %d runs\n", runs);
  agent_process agent;
  std::string const ledger = agent.directory() + "/ledger";
  std::atomic<unsigned> seed{20261123};
  faulty_proxy proxy(agent.directory() + "/proxy.sock", agent.socket_path(), [&](int) {
    std::mt19937 random(seed += 7919);
    connection_fault fault;
    auto const dice = random() % 10;
    if (dice < 2)
      return fault;
    fault.what = dice == 9 ? connection_fault::kind::refuse : connection_fault::kind::cut;
    fault.count_client = dice < 4;
    fault.after = fault.count_client ? random() % 700 : random() % 9000;
    return fault;
  });

  TestType transport;
  // Learns the agent's instance over a good connection, as a launch does.
  auto const health =
      hf::detail::probe_health(transport, endpoint_of(agent, agent.socket_path()), 5s, {});
  REQUIRE(health);
  auto const client = std::make_shared<hf::agent_client<TestType>>(
      transport, endpoint_of(agent, proxy.path()), health);
  hf::basic_files<TestType> files(client);

  // Each returns whether what came back is right.
  auto const run_command = [&](int i) {
    int const lines = (i * 37) % 400;
    hf::exec_options options;
    std::string streamed;
    options.on_stdout = [&](std::string_view text) { streamed += text; };
    auto const result = hf::detail::exec(*client, counted_command(ledger, i, lines), options, {});
    auto const expected = expected_output(i, lines);
    return result.out == expected && streamed == expected && result.exit_code == i % 7 &&
           result.signal == 0;
  };
  auto const run_process = [&](int i) {
    int const lines = (i * 37) % 100;
    auto const started = hf::detail::spawn(*client, counted_command(ledger, i, lines), {});
    hf::basic_process<TestType> process(client, {}, started.handle, started.pid);
    auto const result = process.follow();
    return process.wait().exit_code == i % 7 && result.out == expected_output(i, lines);
  };
  auto const move_file = [&](int i) {
    std::string const path = agent.directory() + "/file-" + std::to_string(i);
    auto const content = expected_output(i, (i * 53) % 300);
    files.write(path, content);
    std::ofstream(ledger, std::ios::app) << i << '\n';
    auto const entry = files.stat(path);
    bool const right = entry.size == content.size() && files.read(path) == content;
    files.remove(path);
    return right && !files.exists(path);
  };

  std::atomic<int> next{0};
  std::atomic<int> errors{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> workers;
  for (int w = 0; w < 8; ++w)
    workers.emplace_back([&] {
      for (int i = next++; i < runs; i = next++) {
        try {
          bool const right = i % 4 == 2   ? move_file(i)
                             : i % 4 == 3 ? run_process(i)
                                          : run_command(i);
          if (!right) {
            std::fprintf(stderr, "run %d came back wrong\n", i);
            ++wrong;
          }
        } catch (hf::error const& e) {
          std::fprintf(stderr, "run %d: %s: %s\n", i, std::string(hf::to_string(e.kind())).c_str(),
                       e.what());
          ++errors;
        }
      }
    });
  for (auto& worker : workers)
    worker.join();

  auto const ledger_runs = read_ledger(ledger);
  int more_than_once = 0;
  for (auto const& entry : ledger_runs)
    more_than_once += entry.second > 1 ? 1 : 0;
  CHECK(wrong == 0);
  CHECK(more_than_once == 0);
  // Reads give up after a few attempts, with a typed error; nothing else does.
  CHECK(errors <= runs / 50);
  CHECK(static_cast<int>(ledger_runs.size()) >= runs - errors);
  CHECK(proxy.struck() > runs / 10);
}

TEST_CASE("large input and output cross broken connections unchanged") {
  agent_process agent;
  std::atomic<unsigned> seed{77};
  faulty_proxy proxy(agent.directory() + "/proxy.sock", agent.socket_path(), [&](int connection) {
    std::mt19937 random(seed += 7919);
    connection_fault fault;
    fault.what = connection_fault::kind::cut;
    // The first connection carries the output, the second one the input.
    fault.count_client = connection < 2 ? connection == 1 : random() % 2 == 0;
    fault.after = 1000 + random() % (2u << 20);
    return fault;
  });
  hf::curl_transport transport;
  auto const health =
      hf::detail::probe_health(transport, endpoint_of(agent, agent.socket_path()), 5s, {});
  REQUIRE(health);
  hf::agent_client<hf::curl_transport> client(transport, endpoint_of(agent, proxy.path()), health);
  std::string input(scaled<std::size_t>(64u << 20, 12u << 20), '\0');
  std::minstd_rand random(5);
  for (auto& byte : input)
    byte = static_cast<char>(random());
  hf::exec_options options;
  options.input = input;
  options.capture_limit = 1u << 30;
  auto const result = hf::detail::exec(client, {"cat"}, options, {});
  CHECK(result.ok());
  CHECK((result.out == input));
  CHECK(proxy.struck() > 0);
}

TEST_CASE("an exec whose caller was killed goes on and another process gets the rest") {
  agent_process agent;
  hf::curl_transport transport;
  hf::agent_client<hf::curl_transport> client(transport, endpoint_of(agent, agent.socket_path()));
  std::string const gate = agent.directory() + "/gate";
  auto const command = hf::shell("echo before; while [ ! -e '" + gate +
                                 "' ]; do sleep 0.02; done; echo after; exit 5");

  // The first caller breaks off after the first output, as a killed one does.
  hf::run_handle handle;
  {
    faulty_proxy proxy(agent.directory() + "/proxy.sock", agent.socket_path(),
                       [&](int) { return connection_fault{}; });
    hf::agent_client<hf::curl_transport> first(transport, endpoint_of(agent, proxy.path()));
    hf::exec_options options;
    options.when_stopped = hf::on_stop::abandon;
    std::stop_source stop;
    options.stop = stop.get_token();
    options.on_stdout = [&](std::string_view) { stop.request_stop(); };
    try {
      hf::detail::exec(first, command, options, {});
      FAIL("the command was not abandoned");
    } catch (hf::run_interrupted const& e) {
      CHECK(e.kind() == errc::cancelled);
      CHECK(e.out() == "before\n");
      handle = e.handle();
    }
  }
  std::ofstream(gate).close();
  auto const result = hf::detail::attach(client, handle, {}, {});
  CHECK(result.out == "after\n");
  CHECK(result.exit_code == 5);
}

TEST_CASE("a stopped agent makes calls return by their deadline and completes them afterwards") {
  agent_process agent;
  hf::curl_transport transport;
  hf::agent_client<hf::curl_transport> client(transport, endpoint_of(agent, agent.socket_path()));
  hf::exec_options options;
  hf::run_handle handle;
  options.deadline = std::chrono::steady_clock::now() + 1500ms;
  options.on_stdout = [&](std::string_view) { agent.signal(SIGSTOP); };
  try {
    hf::detail::exec(client, hf::shell("echo one; sleep 0.2; echo two; exit 4"), options, {});
    FAIL("the stopped agent answered");
  } catch (hf::run_interrupted const& e) {
    CHECK(e.kind() == errc::request_timed_out);
    handle = e.handle();
  }
  agent.signal(SIGCONT);
  auto const result = hf::detail::attach(client, handle, {}, {});
  CHECK(result.out == "two\n");
  CHECK(result.exit_code == 4);
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
  hf::agent_client<hf::curl_transport> client(transport, endpoint_of(agent, agent.socket_path()));
  std::stop_source stop;
  hf::exec_options options;
  options.stop = stop.get_token();
  options.on_stdout = [&](std::string_view) { stop.request_stop(); };
  // An argument that no other process of this machine has.
  std::string const duration = "1000." + std::to_string(agent.pid());
  std::string const sleeper = "sleep " + duration;
  auto const begun = std::chrono::steady_clock::now();
  auto const result = hf::detail::exec(
      client, hf::shell("echo begun; setsid " + sleeper + " & " + sleeper), options, {});
  CHECK(result.cancelled);
  CHECK(result.out == "begun\n");
  CHECK(std::chrono::steady_clock::now() - begun < 30s);
  CHECK(processes_with_argument(duration) == 0);
}
