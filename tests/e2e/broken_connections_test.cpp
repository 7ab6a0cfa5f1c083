#include "support/agent_endpoint.hpp"
#include "support/faulty_proxy.hpp"
#include "support/sandbox_types.hpp"
#include "support/scale.hpp"
#include "support/tcp_server.hpp"

#include <hf/sandbox/agent/exec.hpp>
#include <hf/sandbox/agent/spawn.hpp>
#include <hf/sandbox/files.hpp>
#include <hf/sandbox/process.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace hf::testing_support;
using hf::errc;

namespace {

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

/// Breaks every connection, in one of the ways and at a place that varies: none may live on, or the
/// client would soon have nothing but good ones.
connection_fault random_fault(unsigned seed) {
  using kind = connection_fault::kind;
  std::mt19937 random(seed);
  connection_fault fault;
  auto const dice = random() % 40;
  fault.what = dice < 4    ? kind::refuse
               : dice < 6  ? kind::stall
               : dice < 12 ? kind::duplicate
               : dice < 25 ? kind::reset
                           : kind::cut;
  fault.count_client = random() % 4 == 0;
  fault.after = fault.count_client ? random() % 1500 : random() % 20'000;
  return fault;
}

/// Answers every `GET .../<n>` with the output of run n.
void serve_outputs(tcp_peer& peer) {
  for (;;) {
    auto const head = peer.receive_until("\r\n\r\n");
    if (head.empty())
      return;
    auto const path = head.substr(0, head.find(' ', head.find(' ') + 1));
    auto const body = expected_output(std::stoi(path.substr(path.rfind('/') + 1)), 20);
    if (!peer.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                   "\r\n\r\n" + body))
      return;
  }
}

/// Uses every route of an agent through connections that break; each call says whether what came
/// back is right.
template <class Transport>
class route_user {
 public:
  using agent_client = hf::agent_client<Transport>;

  route_user(std::shared_ptr<agent_client> client, std::string directory, int server_port)
      : client_(std::move(client)),
        directory_(std::move(directory)),
        ledger_(directory_ + "/ledger"),
        server_port_(server_port) {
    call_.stall_timeout = 1500ms;
    options_.stall_timeout = 1500ms;
    following_.stall_timeout = 1500ms;
  }

  [[nodiscard]] bool use(int i) {
    switch (i % 8) {
      case 0:
        return move_file(i);
      case 1:
        return follow_process(i);
      case 2:
        return feed_process(i);
      case 3:
        return signal_process(i);
      case 4:
        return reach_server(i);
      default:
        return run_command(i);
    }
  }

 private:
  bool run_command(int i) {
    int const lines = (i * 37) % 400;
    auto options = options_;
    std::string streamed;
    options.on_stdout = [&](std::string_view text) { streamed += text; };
    options.capture = true;
    auto const result = hf::detail::exec(*client_, counted_command(ledger_, i, lines), options, {});
    auto const expected = expected_output(i, lines);
    return result.out == expected && streamed == expected && result.exit_code == i % 7 &&
           result.signal == 0;
  }

  bool follow_process(int i) {
    int const lines = (i * 37) % 100;
    auto process = spawn(counted_command(ledger_, i, lines), spawning_);
    auto const result = process.follow(following_);
    bool listed = false;
    for (auto const& entry : hf::detail::list_processes(*client_, call_))
      listed = listed || entry.id == process.id();
    bool const right = process.wait(call_).exit_code == i % 7 &&
                       result.out == expected_output(i, lines) &&
                       process.output(0, call_).out == result.out;
    // A list of hundreds would hardly come through.
    process.kill(call_);
    return right && listed;
  }

  bool feed_process(int i) {
    auto const input = expected_output(i, (i * 41) % 200);
    auto options = spawning_;
    options.open_input = true;
    auto process = spawn(hf::shell("echo " + std::to_string(i) + " >> '" + ledger_ +
                                   "'; cat; exit " + std::to_string(i % 7)),
                         options);
    std::uint64_t offset = 0;
    while (offset < input.size())
      offset =
          process.write_input(std::string_view(input).substr(offset, 3000), offset, false, call_);
    process.write_input({}, offset, true, call_);
    bool const right =
        process.wait(call_).exit_code == i % 7 && process.output(0, call_).out == input;
    process.kill(call_);
    return right;
  }

  bool signal_process(int i) {
    auto process = spawn(hf::shell("echo " + std::to_string(i) + " >> '" + ledger_ +
                                   "'; trap 'exit 9' USR1; echo up; while :; do sleep 0.01; done"),
                         spawning_);
    while (process.output(0, call_).out != "up\n")
      std::this_thread::sleep_for(5ms);
    for (;;) {
      try {
        process.signal(SIGUSR1, hf::signal_scope::process, call_);
      } catch (hf::error const& e) {
        // A signal more does no harm here.
        if (e.kind() != errc::outcome_unknown)
          throw;
      }
      if (auto const status = process.wait_for(100ms)) {
        process.kill(call_);
        return status->exit_code == 9;
      }
    }
  }

  bool reach_server(int i) {
    auto const rq = client_->make_request(
        "GET", "/v1/proxy/" + std::to_string(server_port_) + "/some/" + std::to_string(i), call_);
    bool const right =
        client_->call_idempotent("reach the server", rq).body == expected_output(i, 20);
    note(i);
    return right;
  }

  bool move_file(int i) {
    hf::basic_files<Transport> files(client_);
    hf::transfer_options transfer;
    transfer.stall_timeout = call_.stall_timeout;
    auto const directory = directory_ + "/dir-" + std::to_string(i);
    auto const path = directory + "/file";
    auto const content = expected_output(i, (i * 53) % 300);
    files.make_directory(directory, call_);
    files.write(path, content, {.transfer = transfer});
    note(i);
    auto const entries = files.list(directory, call_);
    bool const right = entries.size() == 1 && files.stat(path, call_).size == content.size() &&
                       files.read(path, {.transfer = transfer}) == content;
    files.remove(directory, true, call_);
    return right && !files.exists(directory, call_);
  }

  hf::basic_process<Transport> spawn(hf::command const& what, hf::spawn_options const& options) {
    auto const started = hf::detail::spawn(*client_, what, options);
    return {client_, {}, started.handle, started.pid};
  }

  void note(int i) { std::ofstream(ledger_, std::ios::app) << i << '\n'; }

  std::shared_ptr<agent_client> client_;
  std::string directory_;
  std::string ledger_;
  int server_port_;
  hf::call_options call_;
  hf::exec_options options_;
  hf::spawn_options spawning_;
  hf::follow_options following_;
};

}  // namespace

TEMPLATE_TEST_CASE("calls have one effect and lose no byte over connections that break anywhere",
                   "", HF_SANDBOX_TEST_TRANSPORTS) {
  int const runs = scaled(3'400, 120);
  std::fprintf(stderr, "broken connections: %d runs\n", runs);
  agent_process agent({.flags = {"--ping-ms=300"}});
  tcp_server server(serve_outputs);
  std::atomic<unsigned> seed{20261123};
  auto const choose = [&](int) { return random_fault(seed += 7919); };
  faulty_proxy by_path(agent.directory() + "/proxy.sock", agent.socket_path(), choose);
  faulty_proxy by_tcp("", agent.socket_path(), choose);

  TestType transport;
  // Learns the agent's instance over a good connection, as a launch does.
  auto const health = hf::detail::probe_health(transport, endpoint_of(agent), 5s, {});
  REQUIRE(health);
  auto tcp_endpoint = endpoint_of(agent, "");
  tcp_endpoint.url = "http://127.0.0.1:" + std::to_string(by_tcp.port());
  using client_type = hf::agent_client<TestType>;
  route_user<TestType> users[] = {
      {std::make_shared<client_type>(transport, endpoint_of(agent, by_path.path()), health),
       agent.directory(), server.port()},
      {std::make_shared<client_type>(transport, tcp_endpoint, health), agent.directory(),
       server.port()}};

  std::atomic<int> next{0};
  std::atomic<int> errors{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> workers;
  for (int w = 0; w < 8; ++w)
    workers.emplace_back([&] {
      for (int i = next++; i < runs; i = next++) {
        try {
          if (!users[(i / 8) % 2].use(i)) {
            std::fprintf(stderr, "run %d came back wrong\n", i);
            ++wrong;
          }
        } catch (hf::error const& e) {
          std::fprintf(stderr, "run %d: %s: %s\n", i, std::string(hf::to_string(e.kind())).c_str(),
                       e.what());
          ++errors;
        } catch (std::exception const& e) {
          std::fprintf(stderr, "run %d: not a typed error: %s\n", i, e.what());
          ++wrong;
        }
      }
    });
  for (auto& worker : workers)
    worker.join();

  auto const ledger_runs = read_ledger(agent.directory() + "/ledger");
  int more_than_once = 0;
  for (auto const& entry : ledger_runs)
    more_than_once += entry.second > 1 ? 1 : 0;
  auto const struck = by_path.struck() + by_tcp.struck();
  std::fprintf(stderr, "%d faults struck, %d typed errors\n", struck, errors.load());
  CHECK(wrong == 0);
  CHECK(more_than_once == 0);
  // Calls give up after a few attempts, with a typed error; nothing else does.
  CHECK(errors <= runs / 50);
  CHECK(static_cast<int>(ledger_runs.size()) >= runs - errors);
  CHECK(by_path.struck() > runs / 10);
  CHECK(by_tcp.struck() > runs / 10);
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
  auto const health = hf::detail::probe_health(transport, endpoint_of(agent), 5s, {});
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
