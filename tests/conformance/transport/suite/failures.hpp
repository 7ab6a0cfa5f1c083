#ifndef HF_SANDBOX_TESTING_CONFORMANCE_FAILURES_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_FAILURES_HPP

#include "behaviour.hpp"
#include "raw_server.hpp"

#include <hf/sandbox/http/transport_traits.hpp>

#include <string>

namespace hf::conformance {

/// The code for answers that are not HTTP/1.
template <class T>
errc malformed() {
  return traits_of<T>().recognises_malformed_answers ? errc::protocol_error : errc::connection_lost;
}

/// The error of a GET to a server that reads the request, sends these bytes, and closes.
template <class T>
error error_after(std::string const& bytes, bool reset = false) {
  raw_server server([&](raw_connection& c) {
    if (!c.read_request())
      return;
    c.write(bytes);
    if (reset)
      c.reset();
  });
  T transport;
  return error_of([&] { (void)http::fetch(transport, get(server.url())); });
}

/// Rule 1: what is not a whole answer is an error of the right kind.
template <class T>
behaviours failure_behaviours() {
  return {
      {"a connection that closes without an answer is lost",
       [] {
         for (bool const reset : {false, true}) {
           auto const e = error_after<T>("", reset);
           CHECK(e.kind() == errc::connection_lost);
           CHECK(e.may_have_reached_peer());
         }
       }},
      {"a connection that closes in the head is lost",
       [] {
         auto const e = error_after<T>("HTTP/1.1 200 OK\r\nContent-Le");
         CHECK(e.kind() == errc::connection_lost);
         CHECK(e.may_have_reached_peer());
       }},
      {"a body that ends before its length is lost",
       [] {
         for (bool const reset : {false, true}) {
           auto const e =
               error_after<T>("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart", reset);
           CHECK(e.kind() == errc::connection_lost);
           CHECK(e.may_have_reached_peer());
         }
       }},
      {"a chunked body that ends in the middle is lost",
       [] {
         std::string const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
         for (char const* const part : {"", "5\r\nhel", "5\r\nhello\r\n"}) {
           CAPTURE(part);
           CHECK(error_after<T>(head + part).kind() == errc::connection_lost);
         }
         if (!traits_of<T>().strict_last_chunk)
           return;
         for (char const* const part : {"5\r\nhello\r\n0", "5\r\nhello\r\n0\r\n"}) {
           CAPTURE(part);
           CHECK(error_after<T>(head + part).kind() == errc::connection_lost);
         }
       }},
      {"a body without a length whose connection is reset is lost",
       [] {
         for (char const* const more : {"", "Connection: close\r\n"}) {
           event got_part;
           raw_server server([&](raw_connection& c) {
             if (!c.read_request())
               return;
             c.write(std::string("HTTP/1.1 200 OK\r\n") + more + "\r\npart");
             got_part.wait();
             c.reset();
           });
           T transport;
           lambda_sink sink([](auto const&) { return http::flow::more; },
                            [&](auto) {
                              got_part.set();
                              return http::flow::more;
                            });
           auto const e = error_of([&] { transport.send(get(server.url()), sink); });
           CHECK(e.kind() == errc::connection_lost);
           CHECK(e.may_have_reached_peer());
         }
       }},
      {"data that came before the break was delivered",
       [] {
         raw_server server([](raw_connection& c) {
           if (!c.read_request())
             return;
           c.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart");
         });
         T transport;
         std::string body;
         lambda_sink sink([](auto const&) { return http::flow::more; },
                          [&](auto data) {
                            body += http::as_text(data);
                            return http::flow::more;
                          });
         auto const e = error_of([&] { transport.send(get(server.url()), sink); });
         CHECK(e.kind() == errc::connection_lost);
         CHECK(body == "part");
       }},
      {"malformed chunks are a protocol error",
       [] {
         auto const e = error_after<T>(
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n");
         CHECK(e.kind() == malformed<T>());
         CHECK(e.may_have_reached_peer());
       }},
      {"what is not HTTP/1 is a protocol error",
       [] {
         for (char const* const garbage :
              {"SSH-2.0-OpenSSH_9.2\r\n\r\n", "hello\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n",
               "HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n", "\x15\x03\x03\x00\x02\x02\x16"}) {
           CAPTURE(garbage);
           auto const e = error_after<T>(garbage);
           CHECK(e.kind() == malformed<T>());
         }
       }},
      {"an answer with two different lengths is a protocol error",
       [] {
         auto const e = error_after<T>(
             "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde");
         CHECK(e.kind() == errc::protocol_error);
       }},
      {"an unasked change of protocol is a protocol error",
       [] {
         auto const e = error_after<T>(
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc");
         CHECK(e.kind() == errc::protocol_error);
       }},
      {"a head without end is a protocol error",
       [] {
         if (!traits_of<T>().bounded_heads)
           SKIP("heads of any size are taken");
         raw_server server([](raw_connection& c) {
           if (!c.read_request())
             return;
           c.write("HTTP/1.1 200 OK\r\n");
           std::string const line = "X-More: " + std::string(4000, 'm') + "\r\n";
           for (int i = 0; i < 100'000 && c.write(line); ++i) {
           }
         });
         T transport;
         auto const e = error_of([&] { (void)http::fetch(transport, get(server.url())); });
         CHECK(e.kind() == errc::protocol_error);
       }},
      {"the transport works on after failures",
       [] {
         raw_server server([](raw_connection& c) {
           while (auto const rq = c.read_request()) {
             if (rq->target != "/")
               return;
             c.write(ok("fine"));
           }
         });
         T transport;
         for (int i = 0; i < 5; ++i) {
           CHECK(http::fetch(transport, get(server.url())).body == "fine");
           CHECK_THROWS_AS(http::fetch(transport, get(server.url("/break"))), error);
         }
       }},
  };
}

}  // namespace hf::conformance

#endif
