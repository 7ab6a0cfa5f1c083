#ifndef HF_SANDBOX_TESTING_CONFORMANCE_TLS_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_TLS_HPP

#include "behaviour.hpp"
#include "proxies.hpp"
#include "raw_server.hpp"
#include "tls_server.hpp"

#include <hf/sandbox/http/transport_traits.hpp>

#include <memory>
#include <string>

namespace hf::conformance {

/// An authority and a server certificate for the names that the tests use.
struct tls_world {
  tls_identity authority = make_identity("Test authority", "", nullptr, true);
  tls_identity server =
      make_identity("sandbox", "DNS:sandbox.localhost,DNS:machine.test,IP:127.0.0.1", &authority);
  temporary_file authority_file{authority.certificate_pem()};
};

/// Rule 8: TLS verifies the peer and its name, always, and sends SNI. Needs OpenSSL's libssl.
template <class T>
behaviours tls_behaviours() {
  if (!traits_of<T>().tls)
    return {};
  return {
      {"TLS with a trusted authority works both ways and keeps connections",
       [] {
         tls_world world;
         tls_endpoint endpoint(world.server);
         raw_server server(answering([](raw_request const& rq) { return ok(rq.body + "!"); }),
                           endpoint.wrapper());
         T transport;
         for (std::string const host : {"sandbox.localhost", "127.0.0.1"}) {
           auto rq = post("https://" + host + ":" + std::to_string(server.port()) + "/",
                          std::string(300'000, 't'));
           rq.tls.ca_file = world.authority_file.path();
           for (int i = 0; i < 3; ++i)
             CHECK(http::fetch(transport, rq).body == std::string(300'000, 't') + "!");
         }
         CHECK(server.connections() == 2);
       }},
      {"the server's name is sent (SNI)",
       [] {
         tls_world world;
         tls_endpoint endpoint(world.server);
         raw_server server(answering([](auto const&) { return ok("ok"); }), endpoint.wrapper());
         T transport;
         auto rq = get("https://sandbox.localhost:" + std::to_string(server.port()) + "/");
         rq.tls.ca_file = world.authority_file.path();
         CHECK(http::fetch(transport, rq).body == "ok");
         CHECK(endpoint.last_name() == "sandbox.localhost");
       }},
      {"a self-signed certificate is refused",
       [] {
         auto const alone = make_identity("sandbox", "DNS:sandbox.localhost", nullptr);
         tls_endpoint endpoint(alone);
         raw_server server(answering([](auto const&) { return ok("ok"); }), endpoint.wrapper());
         T transport;
         auto const e = error_of([&] {
           (void)http::fetch(
               transport, get("https://sandbox.localhost:" + std::to_string(server.port()) + "/"));
         });
         CHECK(e.kind() == errc::tls_failed);
         CHECK_FALSE(e.may_have_reached_peer());
       }},
      {"an authority that nobody trusts is refused, also after one that was trusted",
       [] {
         tls_world world;
         tls_world other;
         tls_endpoint endpoint(world.server);
         raw_server server(answering([](auto const&) { return ok("ok"); }), endpoint.wrapper());
         T transport;
         auto rq = get("https://sandbox.localhost:" + std::to_string(server.port()) + "/");
         rq.tls.ca_file = world.authority_file.path();
         CHECK(http::fetch(transport, rq).body == "ok");
         rq.tls.ca_file = other.authority_file.path();
         CHECK(error_of([&] { (void)http::fetch(transport, rq); }).kind() == errc::tls_failed);
         rq.tls.ca_file.clear();
         CHECK(error_of([&] { (void)http::fetch(transport, rq); }).kind() == errc::tls_failed);
       }},
      {"a certificate for another host is refused",
       [] {
         tls_world world;
         tls_endpoint endpoint(world.server);
         raw_server server(answering([](auto const&) { return ok("ok"); }), endpoint.wrapper());
         T transport;
         auto rq = get("https://other.localhost:" + std::to_string(server.port()) + "/");
         rq.tls.ca_file = world.authority_file.path();
         auto const e = error_of([&] { (void)http::fetch(transport, rq); });
         CHECK(e.kind() == errc::tls_failed);
         CHECK_FALSE(e.may_have_reached_peer());
       }},
      {"a missing file of authorities is a TLS failure",
       [] {
         tls_world world;
         tls_endpoint endpoint(world.server);
         raw_server server(answering([](auto const&) { return ok("ok"); }), endpoint.wrapper());
         T transport;
         auto rq = get("https://sandbox.localhost:" + std::to_string(server.port()) + "/");
         rq.tls.ca_file = "/nonexistent/authorities.pem";
         CHECK(error_of([&] { (void)http::fetch(transport, rq); }).kind() == errc::tls_failed);
       }},
      {"a server that does not speak TLS is a TLS failure",
       [] {
         raw_server server([](raw_connection& c) {
           (void)c.read_some();
           c.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
           c.finish();
           c.wait_closed();
         });
         T transport;
         auto const e = error_of([&] {
           (void)http::fetch(transport,
                             get("https://localhost:" + std::to_string(server.port()) + "/"));
         });
         CHECK(e.kind() == errc::tls_failed);
         CHECK_FALSE(e.may_have_reached_peer());
       }},
      {"a client certificate is shown, or refused as unsupported",
       [] {
         tls_world world;
         auto const client = make_identity("client", "", &world.authority);
         temporary_file const cert(client.certificate_pem());
         temporary_file const key(client.key_pem());
         tls_endpoint endpoint(world.server, &world.authority);
         raw_server server(answering([](auto const&) { return ok("known"); }), endpoint.wrapper());
         T transport;
         auto rq = get("https://sandbox.localhost:" + std::to_string(server.port()) + "/");
         rq.tls.ca_file = world.authority_file.path();
         CHECK_THROWS_AS(http::fetch(transport, rq), error);
         rq.tls.cert_file = cert.path();
         rq.tls.key_file = key.path();
         if (traits_of<T>().client_certificates)
           CHECK(http::fetch(transport, rq).body == "known");
         else
           CHECK(error_of([&] { (void)http::fetch(transport, rq); }).kind() == errc::unsupported);
       }},
      {"a TLS connection cut in the middle of a body is lost",
       [] {
         tls_world world;
         tls_endpoint endpoint(world.server);
         raw_server server(
             [](raw_connection& c) {
               if (c.read_request())
                 c.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart");
             },
             endpoint.wrapper());
         T transport;
         auto rq = get("https://sandbox.localhost:" + std::to_string(server.port()) + "/");
         rq.tls.ca_file = world.authority_file.path();
         auto const e = error_of([&] { (void)http::fetch(transport, rq); });
         CHECK(e.kind() == errc::connection_lost);
         CHECK(e.may_have_reached_peer());
       }},
      {"a TLS body without a length is whole only when TLS says that it is over",
       [] {
         tls_world world;
         tls_endpoint endpoint(world.server);
         raw_server server(
             [](raw_connection& c) {
               auto const rq = c.read_request();
               if (!rq)
                 return;
               c.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it");
               if (rq->target == "/whole")
                 c.close_notify();
             },
             endpoint.wrapper());
         T transport;
         auto const base = "https://sandbox.localhost:" + std::to_string(server.port());
         auto rq = get(base + "/whole");
         rq.tls.ca_file = world.authority_file.path();
         CHECK(http::fetch(transport, rq).body == "all of it");
         if (!traits_of<T>().strict_tls_end)
           return;
         rq.url = base + "/cut";
         auto const e = error_of([&] { (void)http::fetch(transport, rq); });
         CHECK(e.kind() == errc::connection_lost);
         CHECK(e.may_have_reached_peer());
       }},
      {"a pooled TLS connection that the server has closed is replaced",
       [] {
         tls_world world;
         tls_endpoint endpoint(world.server);
         event closed;
         raw_server server(
             [&](raw_connection& c) {
               if (c.read_request())
                 c.write(ok(std::to_string(c.index())));
               if (c.index() == 0) {
                 c.finish();
                 closed.set();
               }
               c.wait_closed();
             },
             endpoint.wrapper());
         T transport;
         auto rq = post("https://sandbox.localhost:" + std::to_string(server.port()) + "/", "b");
         rq.tls.ca_file = world.authority_file.path();
         CHECK(http::fetch(transport, rq).body == "0");
         REQUIRE(closed.wait());
         CHECK(http::fetch(transport, rq).body == "1");
       }},
      {"TLS goes through a tunnel of a proxy to the server itself",
       [] {
         if (!traits_of<T>().proxies)
           SKIP("no proxies");
         tls_world world;
         tls_endpoint endpoint(world.server);
         raw_server server(answering([](raw_request const& rq) {
                             return ok(std::string(rq.fields.get("Host")) + rq.target);
                           }),
                           endpoint.wrapper());
         raw_server proxy([&](raw_connection& c) {
           if (!c.read_head())
             return;
           c.write("HTTP/1.1 200 Connection established\r\n\r\n");
           c.relay(connect_tcp(server.port()));
         });
         clean_proxies environment;
         environment.set("https_proxy", proxy.url());
         T transport;
         auto rq = get("https://machine.test/x");
         rq.tls.ca_file = world.authority_file.path();
         for (int i = 0; i < 3; ++i)
           CHECK(http::fetch(transport, rq).body == "machine.test/x");
         CHECK(proxy.connections() == 1);
         CHECK(endpoint.last_name() == "machine.test");
       }},
  };
}

}  // namespace hf::conformance

#endif
