#include "support/faulty_proxy.hpp"
#include "support/file_helpers.hpp"
#include "support/official_agent/official_agent.hpp"
#include "support/sandbox_types.hpp"
#include "support/scale.hpp"
#include "support/tcp_server.hpp"

#include <hf/sandbox/agent/exec.hpp>
#include <hf/sandbox/agent/spawn.hpp>
#include <hf/sandbox/http/fetch.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using hf::errc;
using hf::testing_support::connection_fault;
using hf::testing_support::faulty_proxy;
using hf::testing_support::kind_of;
using hf::testing_support::need_official_agent;
using hf::testing_support::official_agent;
using hf::testing_support::official_launcher;
using hf::testing_support::official_sandbox;
using hf::testing_support::raw_http;
using hf::testing_support::scaled;
using hf::testing_support::slurp;

namespace {

/// Waits until a connection that is made now has been told 408 and closed: by then that has
/// happened to every connection that is idle now.
void await_idle_timeout(official_agent& agent) {
  auto idle = agent.process().connect();
  CHECK(idle.read_answer().status == 408);
}

/// A transport that counts the answers with status 503.
template <class Transport>
struct counting_transport {
  std::shared_ptr<std::atomic<int>> refusals = std::make_shared<std::atomic<int>>(0);
  Transport inner;

  void send(hf::http::request const& rq, hf::http::response_sink& sink) {
    struct watching final : hf::http::response_sink {
      watching(hf::http::response_sink& to, std::atomic<int>& count) : next(to), seen(count) {}
      hf::http::flow on_head(hf::http::response_head const& head) override {
        seen += head.status == 503 ? 1 : 0;
        return next.on_head(head);
      }
      hf::http::flow on_data(std::span<std::byte const> data) override {
        return next.on_data(data);
      }
      hf::http::response_sink& next;
      std::atomic<int>& seen;
    } watch(sink, *refusals);
    inner.send(rq, watch);
  }
};

}  // namespace

TEST_CASE("the double of the official agent has the habits that these tests are about") {
  need_official_agent();
  official_agent agent({.flags = {"--head-timeout", "0.3"}});
  {
    auto idle = agent.process().connect();
    auto const answer = idle.read_answer();
    CHECK(answer.status == 408);
    CHECK(answer.json()["error"] == "Resource temporarily unavailable (os error 11)");
  }
  {
    auto c = agent.process().connect();
    c.send("POST /v1/exec HTTP/1.1\r\nX-Sandbox-Token: " + agent.process().token() +
           "\r\nTransfer-Encoding: chunked\r\n\r\n");
    CHECK(c.read_answer().status == 411);
  }
  {
    auto c = agent.process().connect();
    c.send("POST /v1/exec HTTP/1.1\r\nX-Sandbox-Token: " + agent.process().token() +
           "\r\nContent-Length: 16777217\r\n\r\n");
    CHECK_THROWS(c.read_answer());
  }
  CHECK(agent.process().request("HEAD", "/health").status == 404);
  auto const health = agent.process().request("GET", "/health");
  std::vector<std::string> names;
  for (auto const& field : health.fields)
    names.push_back(field.first);
  CHECK(names == std::vector<std::string>{"content-type", "connection", "content-length"});
}

TEMPLATE_TEST_CASE("the unasked 408 of an official agent is no answer to the next call", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create(
      {}, official_launcher({.flags = {"--head-timeout", "0.4"}}));
  auto& agent = sb.client()->launcher().agent(sb.id());
  auto const ledger = agent.directory() + "/ledger";
  auto const count = hf::shell("echo x >> '" + ledger + "'");
  auto const each = [&](auto call) {
    sb.exec({"true"}).check();
    await_idle_timeout(agent);
    call();
  };
  each([&] { sb.exec(count).check(); });
  each([&] { sb.spawn(count).wait(); });
  each([&] { sb.files().write(ledger + "2", "y"); });
  each([&] { CHECK(sb.files().read(ledger + "2") == "y"); });
  each([&] { sb.files().remove(ledger + "2"); });
  each([&] { CHECK(sb.processes().size() == 1); });
  CHECK(slurp(ledger) == "x\nx\n");
}

TEMPLATE_TEST_CASE("calls that meet an official agent's idle timeout have one effect", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create(
      {}, official_launcher({.flags = {"--head-timeout", "0.03"}}));
  auto const ledger = sb.client()->launcher().agent(sb.id()).directory() + "/ledger";
  std::minstd_rand random(7);
  int const rounds = scaled(2'000, 60);
  int unknown = 0;
  for (int i = 0; i < rounds; ++i) {
    auto const pause = std::chrono::microseconds(28'000 + random() % 4'000);
    std::this_thread::sleep_for(pause);  // the race is what is tried here
    try {
      sb.exec(hf::shell("echo " + std::to_string(i) + " >> '" + ledger + "'")).check();
    } catch (hf::error const& e) {
      std::fprintf(stderr, "%d: %s\n", i, e.what());
      CHECK(e.kind() == errc::outcome_unknown);
      ++unknown;
    }
  }
  std::set<int> seen;
  std::ifstream in(ledger);
  for (int i = 0; in >> i;)
    CHECK(seen.insert(i).second);
  CHECK(static_cast<int>(seen.size()) >= rounds - unknown);
  // One that reads only after writing misses the 408 when the connection is reset meanwhile.
  if (hf::traits_of<TestType>().answers_while_sending)
    CHECK(unknown == 0);
}

TEMPLATE_TEST_CASE("calls beyond an official agent's connections wait for their turn", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  if (!hf::traits_of<TestType>().answers_while_sending)
    SKIP("this transport does not read the refusal of a request that it is still writing");
  official_agent agent({.env = {{"SBX_MAX_CONNECTIONS", "2"}}});
  using counting = counting_transport<TestType>;
  auto const ledger = agent.directory() + "/ledger";
  auto const count = hf::shell("echo x >> '" + ledger + "'");
  auto const when_full = [&](auto call) {
    counting transport;
    auto const client = std::make_shared<hf::agent_client<counting>>(transport, agent.endpoint());
    std::vector<raw_http> holders;
    while (holders.size() < 2) {
      holders.push_back(agent.process().connect());
      // Answered: the connection has its place.
      holders.back().send_request("GET", "/health", agent.process().token());
      if (holders.back().read_answer().status != 200)
        holders.pop_back();
    }
    auto done = std::async(std::launch::async, [&] { call(client); });
    while (*transport.refusals == 0 && done.wait_for(1ms) != std::future_status::ready) {
    }
    CHECK(*transport.refusals > 0);
    holders.clear();
    done.get();
  };
  when_full([&](auto const& client) { CHECK(hf::detail::exec(*client, count, {}, {}).ok()); });
  when_full([&](auto const& client) { (void)hf::detail::spawn(*client, count, {}); });
  when_full([&](auto const& client) {
    CHECK(hf::detail::list_processes(*client, {}).size() == 1);
    while (slurp(ledger) != "x\nx\n")
      std::this_thread::sleep_for(5ms);
  });
  when_full([&](auto const& client) { hf::basic_files<counting>(client).remove(ledger); });
}

TEMPLATE_TEST_CASE("a server inside is reached, and the agent still is behind it", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());
  std::atomic<int> strangers{0};
  hf::testing_support::tcp_server server([&](hf::testing_support::tcp_peer& peer) {
    for (;;) {
      auto const head = peer.receive_until("\r\n\r\n");
      if (head.empty())
        return;
      bool const strange = head.find("/v1/") != std::string::npos ||
                           head.find("0123456789abcdef-test-token") != std::string::npos;
      strangers += strange ? 1 : 0;
      bool const last = head.find("connection: close") != std::string::npos;
      auto const body = head.substr(0, head.find("\r\n"));
      peer.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                (last ? "\r\nConnection: close" : "") + "\r\n\r\n" + body);
      if (last)
        return;
    }
  });
  auto const port = static_cast<std::uint16_t>(server.port());
  hf::http::request rq;
  rq.url = sb.url_for(port, "/a%20b?c=d&e");
  rq.fields = sb.headers();
  rq.fields.add("Connection", "close");
  for (int i = 0; i < 3; ++i)
    CHECK(hf::http::fetch(sb.client()->transport(), rq).body == "GET /a%20b?c=d&e HTTP/1.1");
  // One that stays open belongs to the server from now on: the agent's calls keep off it.
  rq.fields = sb.headers();
  rq.url = sb.url_for(port);
  CHECK(hf::http::fetch(sb.client()->transport(), rq).body == "GET / HTTP/1.1");
  CHECK(sb.exec({"echo", "hello"}).out == "hello\n");
  CHECK(sb.processes().empty());
  CHECK(strangers == 0);

  rq.url = sb.url_for(1);
  rq.connection_group = "fresh";
  auto const refused = hf::http::fetch(sb.client()->transport(), rq);
  CHECK(refused.status == 502);
  CHECK(refused.body.find("cannot reach port 1 in sandbox") != std::string::npos);
}

TEMPLATE_TEST_CASE("a connection that breaks before an official agent answers leaves it open", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  official_agent agent({.unix_socket = true});
  auto const ledger = agent.directory() + "/ledger";
  auto const command = hf::shell("echo x >> '" + ledger + "'; echo one; echo two; exit 3");
  struct {
    bool count_client;
    std::uint64_t after;
  } const cuts[] = {{true, 20}, {true, 200}, {false, 0}, {false, 100}};
  for (auto const& cut : cuts) {
    CAPTURE(cut.count_client, cut.after);
    std::filesystem::remove(ledger);
    faulty_proxy proxy(agent.directory() + "/proxy.sock", agent.process().socket_path(),
                       [&](int connection) {
                         connection_fault fault;
                         if (connection == 0)
                           fault = {connection_fault::kind::cut, cut.count_client, cut.after};
                         return fault;
                       });
    TestType transport;
    hf::agent_client<TestType> client(transport, agent.endpoint(proxy.path()));
    CHECK(kind_of([&] { hf::detail::exec(client, command, {}, {}); }) == errc::outcome_unknown);
    CHECK(proxy.struck() == 1);
    // What may still run has run when this has.
    CHECK(hf::detail::exec(client, {"true"}, {}, {}).ok());
    CHECK(slurp(ledger).size() <= 2);

    faulty_proxy other(agent.directory() + "/other.sock", agent.process().socket_path(),
                       [&](int connection) {
                         connection_fault fault;
                         if (connection == 0)
                           fault = {connection_fault::kind::cut, cut.count_client, cut.after};
                         return fault;
                       });
    hf::agent_client<TestType> again(transport, agent.endpoint(other.path()));
    CHECK(kind_of([&] { hf::detail::spawn(again, command, {}); }) == errc::outcome_unknown);
  }
}

TEMPLATE_TEST_CASE("a connection that breaks behind an official agent's start keeps the output", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  official_agent agent({.unix_socket = true});
  auto const ledger = agent.directory() + "/ledger";
  faulty_proxy proxy(agent.directory() + "/proxy.sock", agent.process().socket_path(),
                     [&](int connection) {
                       connection_fault fault;
                       if (connection == 0)
                         fault = {connection_fault::kind::cut, false, 60'000};
                       return fault;
                     });
  TestType transport;
  hf::agent_client<TestType> client(transport, agent.endpoint(proxy.path()));
  try {
    hf::detail::exec(client,
                     hf::shell("echo x >> '" + ledger +
                               "'; n=0; while [ $n -lt 20000 ]; do echo line $n; n=$((n+1)); done"),
                     {}, {});
    FAIL("no error");
  } catch (hf::run_interrupted const& e) {
    CHECK(e.kind() == errc::connection_lost);
    CHECK(e.out().starts_with("line 0\nline 1\n"));
    CHECK(e.out().size() > 20'000);
    CHECK(e.retry() == hf::retry_advice::no);
    CHECK(kind_of([&] { hf::detail::attach(client, e.handle(), {}, {}); }) == errc::op_unknown);
  }
  CHECK(slurp(ledger) == "x\n");
}

TEMPLATE_TEST_CASE("commands on an official agent never run twice, wherever connections break", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  int const runs = scaled(1'500, 100);
  std::fprintf(stderr, "broken connections: %d runs\n", runs);
  official_agent agent({.unix_socket = true});
  auto const ledger = agent.directory() + "/ledger";
  std::atomic<unsigned> seed{20261125};
  faulty_proxy proxy(agent.directory() + "/proxy.sock", agent.process().socket_path(), [&](int) {
    std::mt19937 random(seed += 7919);
    connection_fault fault;
    auto const dice = random() % 10;
    if (dice < 2)
      return fault;
    fault.what = dice == 9 ? connection_fault::kind::refuse : connection_fault::kind::cut;
    fault.count_client = dice < 4;
    fault.after = fault.count_client ? random() % 400 : random() % 2000;
    return fault;
  });
  TestType transport;
  auto const client =
      std::make_shared<hf::agent_client<TestType>>(transport, agent.endpoint(proxy.path()));
  hf::basic_files<TestType> files(client);
  std::atomic<int> next{0};
  std::atomic<int> whole{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> workers;
  for (int w = 0; w < 4; ++w)
    workers.emplace_back([&] {
      for (int i = next++; i < runs; i = next++) {
        auto const text = std::to_string(i);
        auto const command =
            hf::shell("echo " + text + " >> '" + ledger + "'; n=0; while [ $n -lt 50 ]; do echo " +
                      text + "; n=$((n+1)); done; exit 5");
        try {
          if (i % 3 == 0) {
            (void)hf::detail::spawn(*client, command, {});
          } else if (i % 3 == 1) {
            std::string expected;
            for (int n = 0; n < 50; ++n)
              expected += text + "\n";
            auto const r = hf::detail::exec(*client, command, {}, {});
            wrong += r.out == expected && r.exit_code == 5 ? 0 : 1;
          } else {
            auto const path = agent.directory() + "/file-" + text;
            files.write(path, path);
            wrong += files.read(path) == path ? 0 : 1;
          }
          ++whole;
        } catch (hf::run_interrupted const& e) {
          wrong += e.kind() == errc::outcome_unknown || e.kind() == errc::connection_lost ? 0 : 1;
        } catch (hf::error const& e) {
          bool const typed = e.kind() == errc::outcome_unknown ||
                             e.kind() == errc::connection_lost || e.kind() == errc::connect_failed;
          if (!typed)
            std::fprintf(stderr, "run %d: %s\n", i, e.what());
          wrong += typed ? 0 : 1;
        }
      }
    });
  for (auto& worker : workers)
    worker.join();
  std::map<int, int> times;
  std::ifstream in(ledger);
  for (int i = 0; in >> i;)
    CHECK(++times[i] == 1);
  CHECK(wrong == 0);
  CHECK(whole > 0);
  CHECK(proxy.struck() > runs / 20);
}

TEMPLATE_TEST_CASE("nothing is sent to an official agent that it would mishandle", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());
  auto& agent = sb.client()->launcher().agent(sb.id());
  auto const base = agent.directory();
  hf::exec_options options;
  options.input = std::string(2u << 20, 'x');
  sb.exec({"wc"}, options).check();
  sb.spawn({"true"}).kill();
  (void)sb.info();
  std::string const content(5u << 20, 'y');
  hf::write_options how;
  how.transfer.streams = 4;
  sb.files().write(base + "/f", content, how);
  sb.files().write(base + "/g", "small");
  sb.files().make_directory(base + "/d");
  CHECK((sb.files().read(base + "/f", {.transfer = how.transfer}) == content));
  (void)sb.files().list(base);
  sb.files().remove(base + "/d", true);

  std::set<std::string> const known{"GET /health",         "POST /v1/exec",
                                    "POST /v1/processes",  "DELETE /v1/processes/p-0",
                                    "GET /v1/info",        "PUT /v1/files/write",
                                    "GET /v1/files/read",  "GET /v1/files/list",
                                    "GET /v1/files/stat",  "DELETE /v1/files/delete",
                                    "POST /v1/files/mkdir"};
  for (auto const& rq : agent.requests()) {
    auto const& fields = rq["headers"];
    std::string const method = rq["method"];
    std::string const target = rq["target"];
    CAPTURE(method, target, fields.dump());
    CHECK(known.count(method + " " + target.substr(0, target.find('?'))) == 1);
    CHECK_FALSE(fields.contains("transfer-encoding"));
    CHECK_FALSE(fields.contains("expect"));
    if (method == "POST" || method == "PUT")
      CHECK(fields.contains("content-length"));
  }
}
