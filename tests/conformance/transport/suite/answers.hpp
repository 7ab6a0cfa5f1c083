#ifndef HF_SANDBOX_TESTING_CONFORMANCE_ANSWERS_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_ANSWERS_HPP

#include "behaviour.hpp"
#include "raw_server.hpp"

#include <hf/sandbox/http/transport_traits.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace hf::conformance {

/// Rules 1 and 2: what counts as an answer, and how its end is found.
template <class T>
behaviours answer_behaviours() {
  return {
      {"an answer arrives whole, its head before its body",
       [] {
         raw_server server(
             answering([](auto const&) { return ok("hello", "X-Kind: greeting\r\n"); }));
         T transport;
         std::vector<std::string> order;
         lambda_sink sink(
             [&](http::response_head const& head) {
               CHECK(head.status == 200);
               CHECK(head.fields.get("x-kind") == "greeting");
               order.push_back("head");
               return http::flow::more;
             },
             [&](auto data) {
               order.emplace_back(http::as_text(data));
               return http::flow::more;
             });
         transport.send(get(server.url()), sink);
         REQUIRE(order.size() >= 2);
         CHECK(order.front() == "head");
         std::string body;
         for (std::size_t i = 1; i < order.size(); ++i)
           body += order[i];
         CHECK(body == "hello");
       }},
      {"a status of 400 and above is an answer",
       [] {
         raw_server server(answering([](raw_request const& rq) {
           return "HTTP/1.1 " + rq.target.substr(1) +
                  " Some Reason\r\nContent-Length: 3\r\n\r\nbad";
         }));
         T transport;
         for (int const status : {400, 401, 403, 404, 407, 409, 417, 429, 500, 503, 599}) {
           auto const r = http::fetch(transport, get(server.url("/" + std::to_string(status))));
           CHECK(r.status == status);
           CHECK(r.body == "bad");
         }
       }},
      {"redirects are not followed",
       [] {
         std::atomic<int> requests{0};
         raw_server server(answering([&](auto const&) {
           ++requests;
           return "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
         }));
         T transport;
         auto const r = http::fetch(transport, get(server.url()));
         CHECK(r.status == 302);
         CHECK(r.fields.get("Location") == "/elsewhere");
         CHECK(requests == 1);
       }},
      {"answers without a body end at their head: 204, 304, HEAD",
       [] {
         raw_server server(answering([](raw_request const& rq) -> std::string {
           if (rq.target == "/204")
             return "HTTP/1.1 204 No Content\r\n\r\n";
           if (rq.target == "/304")
             return "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: \"a\"\r\n\r\n";
           if (rq.method == "HEAD")
             return "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n";
           return ok("end");
         }));
         T transport;
         CHECK(http::fetch(transport, get(server.url("/204"))).status == 204);
         CHECK(http::fetch(transport, get(server.url("/304"))).status == 304);
         auto head = get(server.url("/head"));
         head.method = "HEAD";
         for (bool const with_body : {false, true}) {
           if (with_body)
             head.body = "a HEAD may have a body";
           auto const r = http::fetch(transport, head);
           CHECK(r.status == 200);
           CHECK(r.fields.get("Content-Length") == "12345");
           CHECK(r.body.empty());
         }
         CHECK(http::fetch(transport, get(server.url("/"))).body == "end");
       }},
      {"a bare 100 is swallowed",
       [] {
         raw_server server(
             answering([](auto const&) { return "HTTP/1.1 100 Continue\r\n\r\n" + ok("final"); }));
         T transport;
         for (int i = 0; i < 2; ++i) {
           auto const r = http::fetch(transport, get(server.url()));
           CHECK(r.status == 200);
           CHECK(r.body == "final");
         }
       }},
      {"1xx heads are swallowed",
       [] {
         if (!traits_of<T>().interim_answers) {
           raw_server server(answering([](auto const&) {
             return "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok("final");
           }));
           T transport;
           auto const e = error_of([&] { (void)http::fetch(transport, get(server.url())); });
           CHECK(e.kind() == errc::unsupported);
           return;
         }
         raw_server server(answering([](auto const&) {
           return "HTTP/1.1 100 Continue\r\n\r\n"
                  "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Early: yes\r\n\r\n" +
                  ok("final");
         }));
         T transport;
         for (int i = 0; i < 2; ++i) {
           auto const r = http::fetch(transport, get(server.url()));
           CHECK(r.status == 200);
           CHECK(r.body == "final");
           CHECK_FALSE(r.fields.contains("X-Early"));
         }
       }},
      {"a chunked body is decoded, with extensions and trailers",
       [] {
         raw_server server(answering([](auto const&) {
           return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "5\r\nhello\r\n1;ext=\"v\"\r\n \r\n00005\r\nworld\r\n0\r\n" +
                  std::string(traits_of<T>().trailers ? "X-Trailer: t\r\n\r\n" : "\r\n");
         }));
         T transport;
         for (int i = 0; i < 2; ++i)
           CHECK(http::fetch(transport, get(server.url())).body == "hello world");
       }},
      {"a body without a length ends with the connection",
       [] {
         raw_server server([](raw_connection& c) {
           if (!c.read_request())
             return;
           c.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the ");
           c.write("end");
         });
         T transport;
         for (int i = 0; i < 2; ++i)
           CHECK(http::fetch(transport, get(server.url())).body == "until the end");
         CHECK(server.connections() == 2);
       }},
      {"an answer of HTTP/1.0 is understood",
       [] {
         raw_server server([](raw_connection& c) {
           if (c.read_request())
             c.write("HTTP/1.0 200 OK\r\n\r\nold");
         });
         T transport;
         CHECK(http::fetch(transport, get(server.url())).body == "old");
       }},
      {"repeated and empty fields of an answer are kept",
       [] {
         raw_server server(answering([](auto const&) {
           return ok("", "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Empty:\r\n");
         }));
         T transport;
         auto const r = http::fetch(transport, get(server.url()));
         std::vector<std::string> cookies;
         for (auto const& f : r.fields)
           if (http::iequals(f.name, "set-cookie"))
             cookies.push_back(f.value);
         std::sort(cookies.begin(), cookies.end());
         CHECK(cookies == std::vector<std::string>{"a=1", "b=2"});
         if (traits_of<T>().exact_fields) {
           CHECK(r.fields.contains("X-Empty"));
           CHECK(r.fields.get("X-Empty") == "");
         }
       }},
      {"a sink's stop ends the exchange without an error",
       [] {
         raw_server server(answering([](auto const&) { return ok(std::string(100'000, 'a')); }));
         T transport;
         int pieces = 0;
         lambda_sink at_head([](auto const&) { return http::flow::stop; },
                             [&](auto) {
                               ++pieces;
                               return http::flow::more;
                             });
         transport.send(get(server.url()), at_head);
         CHECK(pieces == 0);
         lambda_sink at_data([](auto const&) { return http::flow::more; },
                             [&](auto) {
                               ++pieces;
                               return http::flow::stop;
                             });
         transport.send(get(server.url()), at_data);
         CHECK(pieces == 1);
         CHECK(http::fetch(transport, get(server.url())).body.size() == 100'000);
       }},
      {"exceptions of the sink pass through unchanged",
       [] {
         struct own_exception {
           int value;
         };
         raw_server server(answering([](auto const&) { return ok("body"); }));
         T transport;
         lambda_sink at_head([](auto const&) -> http::flow { throw own_exception{1}; },
                             [](auto) { return http::flow::more; });
         lambda_sink at_data([](auto const&) { return http::flow::more; },
                             [](auto) -> http::flow { throw own_exception{2}; });
         for (http::response_sink* sink : {static_cast<http::response_sink*>(&at_head),
                                           static_cast<http::response_sink*>(&at_data)}) {
           int value = 0;
           try {
             transport.send(get(server.url()), *sink);
           } catch (own_exception const& caught) {
             value = caught.value;
           }
           CHECK(value == (sink == &at_head ? 1 : 2));
         }
         CHECK(http::fetch(transport, get(server.url())).body == "body");
       }},
      {"a body is delivered while it comes",
       [] {
         event got_first;
         bool released = false;
         raw_server server([&](raw_connection& c) {
           if (!c.read_request())
             return;
           c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
           released = got_first.wait();
           c.write("6\r\nsecond\r\n0\r\n\r\n");
           c.wait_closed();
         });
         std::string body;
         {
           T transport;
           lambda_sink sink([](auto const&) { return http::flow::more; },
                            [&](auto data) {
                              body += http::as_text(data);
                              got_first.set();
                              return http::flow::more;
                            });
           transport.send(get(server.url()), sink);
         }
         CHECK(body == "firstsecond");
         CHECK(released);
       }},
      {"a head is delivered before the first byte of its body comes",
       [] {
         event got_head;
         raw_server server([&](raw_connection& c) {
           if (!c.read_request())
             return;
           c.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
           c.write(got_head.wait() ? "good" : "late");
           c.wait_closed();
         });
         T transport;
         std::string body;
         lambda_sink sink(
             [&](auto const&) {
               got_head.set();
               return http::flow::more;
             },
             [&](auto data) {
               body += http::as_text(data);
               return http::flow::more;
             });
         transport.send(get(server.url()), sink);
         CHECK(body == "good");
       }},
  };
}

}  // namespace hf::conformance

#endif
