#ifndef HF_SANDBOX_TESTING_CONFORMANCE_PROXIES_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_PROXIES_HPP

#include "behaviour.hpp"
#include "raw_server.hpp"
#include "requests.hpp"

#include <hf/sandbox/http/transport_traits.hpp>

#include <deque>
#include <string>

namespace hf::conformance {

/// An environment without proxy variables, into which a test puts its own.
class clean_proxies {
 public:
  clean_proxies() {
    for (char const* const name : {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
                                   "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"})
      set_.emplace_back(name, nullptr);
  }
  void set(char const* name, std::string const& value) { set_.emplace_back(name, value.c_str()); }
  ~clean_proxies() {
    while (!set_.empty())
      set_.pop_back();
  }

 private:
  std::deque<scoped_variable> set_;
};

/// Rules 9 and 10: which proxy is used, and when none is.
template <class T>
behaviours proxy_behaviours() {
  return {
      {"a proxy of the environment gets http requests whole",
       [] {
         if (!traits_of<T>().proxies)
           SKIP("no proxies");
         for (char const* const name : {"http_proxy", "all_proxy", "ALL_PROXY"}) {
           clean_proxies environment;
           request_log log;
           raw_server proxy(log.handler());
           environment.set(name, proxy.url(""));
           T transport;
           auto rq = get("http://machine.test:8080/path?q=1");
           rq.fields.add("X-Token", "t");
           CHECK(http::fetch(transport, rq).body == "ok");
           CHECK(http::fetch(transport, post("http://machine.test:8080/", "b")).body == "ok");
           REQUIRE(log.seen.size() == 2);
           CHECK(log.seen[0].target == "http://machine.test:8080/path?q=1");
           CHECK(log.seen[0].fields.get("Host") == "machine.test:8080");
           CHECK(log.seen[0].fields.get("X-Token") == "t");
           CHECK(log.seen[1].body == "b");
         }
       }},
      {"https goes through a tunnel of the proxy, whose refusal is a failure to connect",
       [] {
         if (!traits_of<T>().proxies || !traits_of<T>().tls)
           SKIP("no proxies or no TLS");
         for (char const* const name : {"https_proxy", "HTTPS_PROXY"}) {
           clean_proxies environment;
           request_log log;
           raw_server proxy([&](raw_connection& c) {
             auto const rq = c.read_head();
             if (!rq)
               return;
             {
               std::lock_guard const lock(log.mutex);
               log.seen.push_back(*rq);
             }
             c.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
             c.finish();
             c.wait_closed();
           });
           environment.set(name, proxy.url());
           T transport;
           auto rq = get("https://machine.test/");
           rq.fields.add("X-Token", "t");
           auto const e = error_of([&] { (void)http::fetch(transport, rq); });
           CHECK(e.kind() == errc::connect_failed);
           CHECK_FALSE(e.may_have_reached_peer());
           REQUIRE(log.seen.size() == 1);
           CHECK(log.seen[0].method == "CONNECT");
           CHECK(log.seen[0].target == "machine.test:443");
           CHECK_FALSE(log.seen[0].fields.contains("X-Token"));
         }
       }},
      {"no_proxy, HTTP_PROXY and loopback hosts mean a direct connection",
       [] {
         request_log log;
         raw_server proxy(log.handler());
         raw_server server(answering([](auto const&) { return ok("direct"); }));
         {
           clean_proxies environment;
           for (char const* const name : {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"})
             environment.set(name, proxy.url());
           T transport;
           CHECK(http::fetch(transport, get(server.url())).body == "direct");
           CHECK(http::fetch(transport,
                             get("http://sandbox.localhost:" + std::to_string(server.port()) + "/"))
                     .body == "direct");
         }
         auto const direct = [&] {
           T transport;
           auto const e =
               error_of([&] { (void)http::fetch(transport, get("http://machine.invalid/")); });
           CHECK(e.kind() == errc::resolve_failed);
         };
         {
           clean_proxies environment;
           environment.set("HTTP_PROXY", proxy.url());
           direct();
         }
         for (char const* const list : {"*", "machine.invalid", "a.test, .invalid", "invalid"}) {
           clean_proxies environment;
           environment.set("http_proxy", proxy.url());
           environment.set("no_proxy", list);
           direct();
         }
         CHECK(log.seen.empty());
       }},
      {"a proxy that is not there is a failure to connect",
       [] {
         if (!traits_of<T>().proxies)
           SKIP("no proxies");
         clean_proxies environment;
         std::uint16_t port = 0;
         close_native(listen_tcp(1, port));
         environment.set("http_proxy", "http://127.0.0.1:" + std::to_string(port));
         T transport;
         auto const e =
             error_of([&] { (void)http::fetch(transport, get("http://machine.test/")); });
         CHECK(e.kind() == errc::connect_failed);
         CHECK_FALSE(e.may_have_reached_peer());
       }},
  };
}

}  // namespace hf::conformance

#endif
