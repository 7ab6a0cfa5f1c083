#ifndef HF_SANDBOX_TESTING_CONFORMANCE_REQUESTS_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_REQUESTS_HPP

#include "behaviour.hpp"
#include "raw_server.hpp"

#include <hf/sandbox/http/transport_traits.hpp>

#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace hf::conformance {

/// Keeps the requests that came, and answers "ok" to each.
struct request_log {
  std::mutex mutex = {};
  std::vector<raw_request> seen = {};

  raw_server::handler handler() {
    return answering([this](raw_request const& rq) {
      std::lock_guard const lock(mutex);
      seen.push_back(rq);
      return rq.method == "HEAD" ? std::string("HTTP/1.1 200 OK\r\n\r\n") : ok("ok");
    });
  }
};

/// Rules 6 and 12: what goes over the wire.
template <class T>
behaviours request_behaviours() {
  return {
      {"method, target and fields are sent as they are written",
       [] {
         request_log log;
         raw_server server(log.handler());
         T transport;
         auto rq = get(server.url("/a/../b//c%2Fd?x=%20+&y=%E2%82%AC"));
         rq.method = "PROPFIND";
         rq.fields = {{"X-miXed-Case", "one"},
                      {"X-Twice", "1"},
                      {"X-Twice", "2"},
                      {"X-Empty", ""},
                      {"X-Utf8", "\xE2\x82\xAC"}};
         rq.fields.add("X-Long", std::string(6000, 'l'));
         CHECK(http::fetch(transport, rq).body == "ok");
         rq.method = "get";
         CHECK(http::fetch(transport, rq).body == "ok");
         REQUIRE(log.seen.size() == 2);
         auto const& seen = log.seen[0];
         CHECK(seen.method == "PROPFIND");
         CHECK(log.seen[1].method == "get");
         CHECK(seen.version == "HTTP/1.1");
         CHECK(seen.target == "/a/../b//c%2Fd?x=%20+&y=%E2%82%AC");
         CHECK(seen.fields.get("Host") == "127.0.0.1:" + std::to_string(server.port()));
         bool as_written = false;
         std::string twice;
         for (auto const& f : seen.fields) {
           as_written = as_written || f.name == "X-miXed-Case";
           if (f.name == "X-Twice")
             twice += f.value;
         }
         CHECK(as_written);
         CHECK((twice == "12" || twice == "21"));
         CHECK(seen.fields.contains("X-Empty"));
         CHECK(seen.fields.get("X-Empty") == "");
         CHECK(seen.fields.get("X-Utf8") == "\xE2\x82\xAC");
         CHECK(seen.fields.get("X-Long").size() == 6000);
       }},
      {"nothing is asked for that the caller did not ask for",
       [] {
         request_log log;
         raw_server server(log.handler());
         T transport;
         CHECK(http::fetch(transport, get(server.url())).body == "ok");
         CHECK(http::fetch(transport, post(server.url(), std::string(3 << 20, 'p'))).body == "ok");
         CHECK(http::fetch(transport, post(server.url(), std::make_shared<filler>(3 << 20))).body ==
               "ok");
         REQUIRE(log.seen.size() == 3);
         for (auto const& seen : log.seen)
           for (char const* const name : {"Expect", "Accept-Encoding", "TE", "Transfer-Encoding",
                                          "Upgrade", "Content-Type", "Cookie"})
             CHECK_FALSE(seen.fields.contains(name));
       }},
      {"bodies go out with their length, byte for byte",
       [] {
         request_log log;
         raw_server server(log.handler());
         T transport;
         std::string bytes;
         for (int i = 0; i < 70'000; ++i)
           bytes += static_cast<char>(i % 251);
         for (char const* const method : {"POST", "PUT", "PATCH", "DELETE"}) {
           auto rq = post(server.url(), bytes);
           rq.method = method;
           CHECK(http::fetch(transport, rq).body == "ok");
         }
         CHECK(http::fetch(transport, post(server.url(), "")).body == "ok");
         REQUIRE(log.seen.size() == 5);
         for (std::size_t i = 0; i < 4; ++i) {
           CHECK(log.seen[i].fields.get("Content-Length") == std::to_string(bytes.size()));
           CHECK(log.seen[i].body == bytes);
         }
         CHECK(log.seen[4].fields.get("Content-Length") == "0");
       }},
      {"a request without a body says so only where servers expect one",
       [] {
         request_log log;
         raw_server server(log.handler());
         T transport;
         for (char const* const method : {"GET", "HEAD", "POST", "PUT"}) {
           auto rq = get(server.url());
           rq.method = method;
           CHECK(http::fetch(transport, rq).status == 200);
         }
         REQUIRE(log.seen.size() == 4);
         CHECK_FALSE(log.seen[0].fields.contains("Content-Length"));
         CHECK_FALSE(log.seen[1].fields.contains("Content-Length"));
         CHECK(log.seen[2].fields.get("Content-Length") == "0");
         CHECK(log.seen[3].fields.get("Content-Length") == "0");
       }},
      {"a reader's bytes are sent, and sent again with the same request",
       [] {
         request_log log;
         raw_server server(log.handler());
         T transport;
         auto const reader = std::make_shared<filler>(300'000);
         auto const rq = post(server.url(), reader);
         CHECK(http::fetch(transport, rq).body == "ok");
         CHECK(http::fetch(transport, rq).body == "ok");
         CHECK(http::fetch(transport, post(server.url(), std::make_shared<filler>(0))).body ==
               "ok");
         CHECK(reader->rewinds >= 2);
         REQUIRE(log.seen.size() == 3);
         CHECK(log.seen[0].body == std::string(300'000, 'x'));
         CHECK(log.seen[1].body == log.seen[0].body);
         CHECK(log.seen[2].fields.get("Content-Length") == "0");
       }},
      {"a reader's bytes are sent while it makes them",
       [] {
         event arrived;
         raw_server server([&](raw_connection& c) {
           if (!c.read_head())
             return;
           auto got = c.read_some();
           arrived.set();
           while (got.size() < 10) {
             auto const more = c.read_some();
             if (more.empty())
               return;
             got += more;
           }
           c.write(ok(got));
           c.wait_closed();
         });
         T transport;
         int step = 0;
         bool in_time = true;
         made_body body(10, [&]() -> std::string {
           if (step++ > 0)
             in_time = arrived.wait();
           return step == 1 ? "early" : "later";
         });
         auto const reader = std::make_shared<decltype(body)>(std::move(body));
         CHECK(http::fetch(transport, post(server.url(), reader)).body == "earlylater");
         CHECK(in_time);
       }},
      {"an exception of the reader passes through unchanged",
       [] {
         raw_server server([](raw_connection& c) { c.wait_closed(); });
         T transport;
         made_body body(1000, []() -> std::string { throw std::range_error("mine"); });
         auto const reader = std::make_shared<decltype(body)>(std::move(body));
         CHECK_THROWS_AS(http::fetch(transport, post(server.url(), reader)), std::range_error);
       }},
      {"a reader that ends too early is the caller's mistake",
       [] {
         raw_server server([](raw_connection& c) { c.wait_closed(); });
         T transport;
         int step = 0;
         made_body body(1000, [&]() -> std::string { return step++ == 0 ? "part" : ""; });
         auto const reader = std::make_shared<decltype(body)>(std::move(body));
         auto const e = error_of([&] { (void)http::fetch(transport, post(server.url(), reader)); });
         CHECK(e.kind() == errc::invalid_argument);
       }},
      {"an answer that comes before the whole body was sent is delivered",
       [] {
         raw_server server([](raw_connection& c) {
           if (!c.read_head())
             return;
           c.discard(1000);
           c.write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
           c.finish();
           c.wait_closed();
         });
         T transport;
         auto const r =
             http::fetch(transport, post(server.url(), std::make_shared<filler>(64u << 20)));
         CHECK(r.status == 413);
         CHECK(r.body == "big");
       }},
      {"a server that stops reading in order to refuse a body is heard",
       [] {
         if (!traits_of<T>().answers_while_sending)
           SKIP("answers are read after the body");
         event over;
         raw_server server([&](raw_connection& c) {
           if (!c.read_head())
             return;
           c.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
           over.wait();
         });
         T transport;
         auto const r =
             http::fetch(transport, post(server.url(), std::make_shared<filler>(256u << 20)));
         over.set();
         CHECK(r.status == 403);
         CHECK(r.body == "no");
       }},
      {"an answer may be streamed while the body still goes out",
       [] {
         if (!traits_of<T>().answers_while_sending)
           SKIP("answers are read after the body");
         raw_server server([](raw_connection& c) {
           auto const head = c.read_head();
           if (!head)
             return;
           auto left = head->content_length();
           c.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(left) + "\r\n\r\n");
           while (left > 0) {
             auto const some = c.read_some();
             if (some.empty() || !c.write(some))
               return;
             left -= some.size();
           }
           c.wait_closed();
         });
         T transport;
         std::uint64_t got = 0;
         lambda_sink sink([](auto const&) { return http::flow::more; },
                          [&](auto data) {
                            got += data.size();
                            return http::flow::more;
                          });
         transport.send(post(server.url(), std::make_shared<filler>(48u << 20)), sink);
         CHECK(got == 48u << 20);
       }},
      {"what could split a request is refused, and nothing is sent",
       [] {
         raw_server server(answering([](auto const&) { return ok("ok"); }));
         T transport;
         auto const refused = [&](http::request const& rq) {
           auto const e = error_of([&] { (void)http::fetch(transport, rq); });
           CHECK(e.kind() == errc::invalid_argument);
           CHECK_FALSE(e.may_have_reached_peer());
           CHECK(std::string(e.what()).find("s3cret") == std::string::npos);
         };
         for (std::string const& bad : {std::string("s3cret\r\nX-Evil: 1"), std::string("s3cret\n"),
                                        std::string("\rs3cret"), std::string("s3cret\0", 7)}) {
           auto rq = get(server.url());
           rq.fields.add("X-Value", bad);
           refused(rq);
           rq = get(server.url());
           rq.fields.add("X-" + bad, "v");
           refused(rq);
           refused(get(server.url("/" + bad)));
           rq = get(server.url());
           rq.method = "GET" + bad;
           refused(rq);
         }
         for (char const* const method : {"", "GE T", "GET/", "G\xC3\xA9T", "CONNECT"}) {
           auto rq = get(server.url());
           rq.method = method;
           refused(rq);
         }
         for (char const* const name :
              {"", "X Y", "X:", "Host", "content-length", "Transfer-Encoding", "expect"}) {
           auto rq = get(server.url());
           rq.fields.add(name, "1");
           refused(rq);
         }
         for (char const* const url :
              {"", "/", "127.0.0.1", "ftp://127.0.0.1/", "http://", "http://:80/",
               "http://127.0.0.1:0/", "http://127.0.0.1:99999/", "http://u:s3cret@127.0.0.1/",
               "http://127.0.0.1/a b", "http://127.0.0.1/\xC3\xA9", "http://[::1/"})
           refused(get(url));
         CHECK(server.connections() == 0);
       }},
  };
}

}  // namespace hf::conformance

#endif
