#ifndef HF_SANDBOX_TESTING_CONFORMANCE_CONNECTIONS_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_CONNECTIONS_HPP

#include "behaviour.hpp"
#include "raw_server.hpp"

#include <hf/sandbox/http/transport_traits.hpp>

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace hf::conformance {

/// A path for a socket that no other test uses.
inline std::string fresh_socket_path() {
  static std::atomic<int> number{0};
  auto const name = "hf-conformance-" +
                    std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()) +
                    "-" + std::to_string(number++);
  return (std::filesystem::temp_directory_path() / name).string();
}

/// Rules 2, 3, 7 and 10: connections, their reuse, and what may be sent over them twice.
template <class T>
behaviours connection_behaviours() {
  return {
    {"connections are kept alive, whatever kind of answer went before",
     [] {
       raw_server server(answering([](raw_request const& rq) -> std::string {
         if (rq.target == "/204")
           return "HTTP/1.1 204 No Content\r\n\r\n";
         if (rq.target == "/chunked")
           return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
         if (rq.method == "HEAD")
           return "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
         return ok("ok");
       }));
       T transport;
       for (int i = 0; i < 5; ++i) {
         for (char const* const target : {"/", "/204", "/chunked"})
           (void)http::fetch(transport, get(server.url(target)));
         auto head = get(server.url());
         head.method = "HEAD";
         (void)http::fetch(transport, head);
         (void)http::fetch(transport, post(server.url(), "text"));
         (void)http::fetch(transport, post(server.url(), std::make_shared<filler>(100'000)));
       }
       CHECK(server.connections() == 1);
     }},
        {"requests of different groups never share a connection",
         [] {
           raw_server server([](raw_connection& c) {
             while (c.read_request() && c.write(ok(std::to_string(c.index())))) {
             }
           });
           T transport;
           std::map<std::string, std::string> group_of;
           for (int i = 0; i < 3; ++i)
             for (char const* const group : {"", "a", "b"}) {
               auto rq = get(server.url());
               rq.connection_group = group;
               auto const connection = http::fetch(transport, rq).body;
               CHECK(group_of.emplace(connection, group).first->second == group);
             }
           CHECK(group_of.size() >= 3);
         }},
        {"a moved transport keeps its connections",
         [] {
           raw_server server(answering([](auto const&) { return ok("ok"); }));
           T first;
           (void)http::fetch(first, get(server.url()));
           T second = std::move(first);
           (void)http::fetch(second, get(server.url()));
           CHECK(server.connections() == 1);
         }},
        {"`Connection: close` is honoured",
         [] {
           raw_server server([](raw_connection& c) {
             if (c.read_request())
               c.write(ok("ok", "Connection: close\r\n"));
             c.finish();
             c.wait_closed();
           });
           T transport;
           for (int i = 0; i < 3; ++i)
             CHECK(http::fetch(transport, get(server.url())).body == "ok");
           CHECK(server.connections() == 3);
         }},
        {"a pooled connection that the server has closed is replaced, for any method",
         [] {
           for (char const* const method : {"GET", "POST"}) {
             event closed;
             raw_server server([&](raw_connection& c) {
               if (c.index() == 0) {
                 if (c.read_request())
                   c.write(ok("first"));
                 c.finish();
                 closed.set();
                 c.wait_closed();
                 return;
               }
               while (c.read_request())
                 c.write(ok("second"));
             });
             T transport;
             CHECK(http::fetch(transport, get(server.url())).body == "first");
             REQUIRE(closed.wait());
             auto rq = get(server.url());
             rq.method = method;
             CHECK(http::fetch(transport, rq).body == "second");
             CHECK(server.connections() == 2);
           }
         }},
        {"a request that the server may have seen is never sent twice",
         [] {
           for (char const* const method : {"GET", "POST", "PUT"}) {
             std::atomic<int> seen{0};
             raw_server server([&](raw_connection& c) {
               while (auto const rq = c.read_request()) {
                 if (rq->target == "/act") {
                   ++seen;
                   return;
                 }
                 c.write(ok("ok"));
               }
             });
             T transport;
             CHECK(http::fetch(transport, get(server.url())).body == "ok");
             auto rq = get(server.url("/act"));
             rq.method = method;
             auto const e = error_of([&] { (void)http::fetch(transport, rq); });
             CHECK(e.kind() == errc::connection_lost);
             CHECK(e.may_have_reached_peer());
             CHECK(seen == 1);
             CHECK(http::fetch(transport, get(server.url())).body == "ok");
           }
         }},
        {"a request whose connection is reset before the answer is never sent twice",
         [] {
           std::atomic<int> seen{0};
           raw_server server([&](raw_connection& c) {
             while (auto const rq = c.read_request()) {
               if (rq->target == "/act") {
                 ++seen;
                 c.reset();
                 return;
               }
               c.write(ok("ok"));
             }
           });
           T transport;
           CHECK(http::fetch(transport, get(server.url())).body == "ok");
           auto const e =
               error_of([&] { (void)http::fetch(transport, post(server.url("/act"), "x")); });
           CHECK(e.kind() == errc::connection_lost);
           CHECK(e.may_have_reached_peer());
           CHECK(seen == 1);
         }},
        {"a refused connection has not reached the peer",
         [] {
           std::uint16_t port = 0;
           close_native(listen_tcp(1, port));
           T transport;
           auto const e = error_of([&] {
             (void)http::fetch(transport, get("http://127.0.0.1:" + std::to_string(port) + "/"));
           });
           CHECK(e.kind() == errc::connect_failed);
           CHECK_FALSE(e.may_have_reached_peer());
         }},
        {"a name that does not resolve has not reached the peer",
         [] {
           T transport;
           auto const e =
               error_of([&] { (void)http::fetch(transport, get("http://sandbox.invalid/")); });
           CHECK(e.kind() == errc::resolve_failed);
           CHECK_FALSE(e.may_have_reached_peer());
         }},
        {"localhost and the names below it are the loopback interface",
         [] {
           raw_server server(answering(
               [](raw_request const& rq) { return ok(std::string(rq.fields.get("Host"))); }));
           T transport;
           auto const port = ":" + std::to_string(server.port());
           for (std::string const host : {"localhost", "sandbox.localhost", "a.b.LocalHost"}) {
             auto const r = http::fetch(transport, get("http://" + host + port + "/"));
             CHECK(http::iequals(r.body, host + port));
           }
         }},
        {"32 threads share one transport",
         [] {
           raw_server server(
               answering([](raw_request const& rq) { return ok(rq.target + rq.body); }));
           T transport;
           std::atomic<int> good{0};
           std::vector<std::thread> threads;
           for (int t = 0; t < 32; ++t)
             threads.emplace_back([&, t] {
               for (int i = 0; i < 20; ++i) {
                 auto const target = "/" + std::to_string(t) + "/" + std::to_string(i);
                 auto const body = std::string(static_cast<std::size_t>(i) * 100, 'b');
                 try {
                   auto const rq = i % 2 ? post(server.url(target), body) : get(server.url(target));
                   if (http::fetch(transport, rq).body == target + (i % 2 ? body : ""))
                     ++good;
                 } catch (...) {
                 }
               }
             });
           for (auto& thread : threads)
             thread.join();
           CHECK(good == 32 * 20);
           CHECK(server.connections() <= 32);
         }},
#if !defined(_WIN32)
        {"unix sockets are reached, each server by its own path", [] {
           auto const answer = [](char const* name) {
             return answering([name](raw_request const& rq) {
               return ok(name + std::string(" ") + std::string(rq.fields.get("Host")));
             });
           };
           auto const path_one = fresh_socket_path();
           auto const path_two = fresh_socket_path();
           raw_server first(raw_server::unix_path{path_one}, answer("one"));
           raw_server second(raw_server::unix_path{path_two}, answer("two"));
           T transport;
           auto rq = get("http://sandbox/");
           rq.unix_socket = path_one;
           if (!traits_of<T>().unix_sockets) {
             auto const e = error_of([&] { (void)http::fetch(transport, rq); });
             CHECK(e.kind() == errc::unsupported);
             return;
           }
           for (int i = 0; i < 3; ++i) {
             rq.unix_socket = path_one;
             CHECK(http::fetch(transport, rq).body == "one sandbox");
             rq.unix_socket = path_two;
             CHECK(http::fetch(transport, rq).body == "two sandbox");
           }
           CHECK(first.connections() == 1);
           CHECK(second.connections() == 1);
           rq.unix_socket = fresh_socket_path();
           auto const e = error_of([&] { (void)http::fetch(transport, rq); });
           CHECK(e.kind() == errc::connect_failed);
           CHECK_FALSE(e.may_have_reached_peer());
           rq.unix_socket = "/tmp/" + std::string(200, 'l');
           CHECK(error_of([&] { (void)http::fetch(transport, rq); }).kind() ==
                 errc::invalid_argument);
         }},
#endif
  };
}

}  // namespace hf::conformance

#endif
