#ifndef HF_SANDBOX_TESTING_CONFORMANCE_CLOCKS_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_CLOCKS_HPP

#include "behaviour.hpp"
#include "raw_server.hpp"

#include <hf/sandbox/detail/stop_token.hpp>
#include <hf/sandbox/http/transport_traits.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace hf::conformance {

/// A port where connecting hangs: its listener's backlog is full, so that the system drops what
/// comes. Not every system does; `hangs()` tells.
class deaf_port {
 public:
  deaf_port() : listener_(listen_tcp(0, port_)) {
    for (int i = 0; i < 8; ++i)
      fill_.emplace_back([this] { add(); });
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(300), [this] { return done_ == 8; });
    hangs_ = done_ < 8;
  }
  ~deaf_port() {
    close_native(listener_);
    for (auto& thread : fill_)
      thread.join();
    for (auto const s : sockets_)
      close_native(s);
  }
  [[nodiscard]] bool hangs() const noexcept { return hangs_; }
  [[nodiscard]] std::string url() const {
    return "http://127.0.0.1:" + std::to_string(port_) + "/";
  }

 private:
  void add() {
    auto const s = connect_tcp(port_);
    std::lock_guard const lock(mutex_);
    if (s != no_socket)
      sockets_.push_back(s);
    ++done_;
    changed_.notify_all();
  }

  std::uint16_t port_ = 0;
  native_socket listener_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int done_ = 0;
  bool hangs_ = false;
  std::vector<native_socket> sockets_;
  std::vector<std::thread> fill_;
};

inline std::chrono::milliseconds since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                               start);
}

#if defined(__cpp_lib_jthread)
/// Sends a request, asks it to stop once `begun` is announced, and returns the error; `took` is the
/// time from there to the end of the call.
template <class T>
error cancel_after(T& transport, http::request rq, event& begun, std::chrono::milliseconds& took) {
  std::stop_source stop;
  rq.stop = stop.get_token();
  std::chrono::steady_clock::time_point asked;
  std::thread canceller([&] {
    begun.wait();
    std::this_thread::sleep_for(20ms);  // into the wait that is to be cut short
    asked = std::chrono::steady_clock::now();
    stop.request_stop();
  });
  auto const e = error_of([&] { (void)http::fetch(transport, rq); });
  auto const end = std::chrono::steady_clock::now();
  canceller.join();
  took = std::chrono::duration_cast<std::chrono::milliseconds>(end - asked);
  return e;
}

/// Whether cancelling takes effect within the 100 ms of rule 11; a machine under load may need
/// several attempts to show it.
template <class Attempt>
bool prompt(Attempt attempt) {
  for (int i = 0; i < 20; ++i)
    if (attempt() <= 100ms)
      return true;
  return false;
}
#endif

/// Rules 5 and 11: time limits and cancellation.
template <class T>
behaviours clock_behaviours() {
  return {
    {"silence before the head ends with a timeout",
     [] {
       raw_server server([](raw_connection& c) { c.wait_closed(); });
       T transport;
       auto rq = get(server.url());
       rq.stall_timeout = 200ms;
       auto const e = error_of([&] { (void)http::fetch(transport, rq); });
       CHECK(e.kind() == errc::request_timed_out);
       CHECK(e.may_have_reached_peer());
     }},
        {"silence in the middle of a body ends with a timeout",
         [] {
           raw_server server([](raw_connection& c) {
             if (!c.read_request())
               return;
             c.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart");
             c.wait_closed();
           });
           T transport;
           auto rq = get(server.url());
           rq.stall_timeout = 200ms;
           auto const e = error_of([&] { (void)http::fetch(transport, rq); });
           CHECK(e.kind() == errc::request_timed_out);
           CHECK(e.may_have_reached_peer());
         }},
        {"a server that does not take the body ends with a timeout",
         [] {
           event over;
           raw_server server([&](raw_connection& c) {
             if (c.read_head())
               over.wait();
           });
           T transport;
           auto rq = post(server.url(), std::make_shared<filler>(256u << 20));
           rq.stall_timeout = 300ms;
           auto const e = error_of([&] { (void)http::fetch(transport, rq); });
           over.set();
           CHECK(e.kind() == errc::request_timed_out);
           CHECK(e.may_have_reached_peer());
         }},
        {"a slow answer that keeps moving is no stall",
         [] {
           raw_server server([](raw_connection& c) {
             if (!c.read_request())
               return;
             c.write("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n");
             for (int i = 0; i < 15 && c.write("."); ++i)
               std::this_thread::sleep_for(100ms);
             c.wait_closed();
           });
           T transport;
           auto rq = get(server.url());
           rq.stall_timeout = 1s;
           CHECK(http::fetch(transport, rq).body.size() == 15);
         }},
        {"a slow sink is not the peer's silence",
         [] {
           raw_server server(answering([](auto const&) { return ok("abc"); }));
           T transport;
           auto rq = get(server.url());
           rq.stall_timeout = 200ms;
           lambda_sink sink(
               [](auto const&) {
                 std::this_thread::sleep_for(400ms);
                 return http::flow::more;
               },
               [](auto) { return http::flow::more; });
           CHECK_NOTHROW(transport.send(rq, sink));
         }},
        {"a deadline bounds the whole call, also while bytes move",
         [] {
           raw_server server([](raw_connection& c) {
             if (!c.read_request())
               return;
             c.write("HTTP/1.1 200 OK\r\n\r\n");
             while (c.write("."))
               std::this_thread::sleep_for(20ms);
           });
           T transport;
           auto rq = get(server.url());
           rq.deadline = std::chrono::steady_clock::now() + 400ms;
           auto const e = error_of([&] { (void)http::fetch(transport, rq); });
           CHECK(e.kind() == errc::request_timed_out);
           CHECK(std::chrono::steady_clock::now() >= *rq.deadline);
         }},
        {"a deadline that has passed sends nothing",
         [] {
           raw_server server(answering([](auto const&) { return ok("ok"); }));
           T transport;
           auto rq = get(server.url());
           rq.deadline = std::chrono::steady_clock::now() - 1ms;
           auto const e = error_of([&] { (void)http::fetch(transport, rq); });
           CHECK(e.kind() == errc::request_timed_out);
           CHECK_FALSE(e.may_have_reached_peer());
           CHECK(server.connections() == 0);
         }},
        {"connecting is bounded",
         [] {
           deaf_port deaf;
           if (!deaf.hangs())
             SKIP("this system accepts beyond a listener's backlog");
           T transport;
           auto rq = get(deaf.url());
           rq.connect_timeout = 300ms;
           auto const start = std::chrono::steady_clock::now();
           auto const e = error_of([&] { (void)http::fetch(transport, rq); });
           CHECK(e.kind() == errc::request_timed_out);
           CHECK_FALSE(e.may_have_reached_peer());
           CHECK(since(start) >= 300ms);
           CHECK(since(start) < 20s);
         }},
        {"a TLS handshake that hangs is bounded by the connect timeout",
         [] {
           if (!traits_of<T>().tls)
             SKIP("no TLS");
           raw_server server([](raw_connection& c) { c.wait_closed(); });
           T transport;
           auto rq = get("https://localhost:" + std::to_string(server.port()) + "/");
           rq.connect_timeout = 300ms;
           auto const e = error_of([&] { (void)http::fetch(transport, rq); });
           CHECK(e.kind() == errc::request_timed_out);
           CHECK_FALSE(e.may_have_reached_peer());
         }},
#if defined(__cpp_lib_jthread)
        {"a request that was cancelled before is not sent",
         [] {
           raw_server server(answering([](auto const&) { return ok("ok"); }));
           T transport;
           std::stop_source stop;
           stop.request_stop();
           auto rq = get(server.url());
           rq.stop = stop.get_token();
           auto const e = error_of([&] { (void)http::fetch(transport, rq); });
           CHECK(e.kind() == errc::cancelled);
           CHECK_FALSE(e.may_have_reached_peer());
           CHECK(server.connections() == 0);
         }},
        {"another thread cancels a wait for the head within 100 ms",
         [] {
           CHECK(prompt([] {
             event arrived;
             raw_server server([&](raw_connection& c) {
               if (c.read_request())
                 arrived.set();
               c.wait_closed();
             });
             T transport;
             std::chrono::milliseconds took{};
             auto const e = cancel_after(transport, get(server.url()), arrived, took);
             CHECK(e.kind() == errc::cancelled);
             CHECK(e.may_have_reached_peer());
             return took;
           }));
         }},
        {"another thread cancels a wait for the body within 100 ms",
         [] {
           CHECK(prompt([] {
             event arrived;
             raw_server server([&](raw_connection& c) {
               if (!c.read_request())
                 return;
               c.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart");
               arrived.set();
               c.wait_closed();
             });
             T transport;
             std::chrono::milliseconds took{};
             auto const e = cancel_after(transport, get(server.url()), arrived, took);
             CHECK(e.kind() == errc::cancelled);
             return took;
           }));
         }},
        {"another thread cancels an upload that hangs within 100 ms",
         [] {
           CHECK(prompt([] {
             event arrived;
             event over;
             raw_server server([&](raw_connection& c) {
               if (c.read_head())
                 arrived.set();
               over.wait();
             });
             T transport;
             std::chrono::milliseconds took{};
             auto const e =
                 cancel_after(transport, post(server.url(), std::make_shared<filler>(256u << 20)),
                              arrived, took);
             over.set();
             CHECK(e.kind() == errc::cancelled);
             CHECK(e.may_have_reached_peer());
             return took;
           }));
         }},
        {"another thread cancels connecting",
         [] {
           deaf_port deaf;
           if (!deaf.hangs())
             SKIP("this system accepts beyond a listener's backlog");
           auto const attempt = [&] {
             T transport;
             event now;
             now.set();
             auto rq = get(deaf.url());
             rq.connect_timeout = traits_of<T>().cancels_while_connecting ? 30s : 500ms;
             std::chrono::milliseconds took{};
             auto const e = cancel_after(transport, rq, now, took);
             CHECK(e.kind() == errc::cancelled);
             CHECK_FALSE(e.may_have_reached_peer());
             return took;
           };
           if (traits_of<T>().cancels_while_connecting)
             CHECK(prompt(attempt));
           else
             CHECK(attempt() < 20s);
         }},
        {"cancelling one request leaves the others alone", [] {
           event arrived;
           raw_server server([&](raw_connection& c) {
             while (auto const rq = c.read_request()) {
               if (rq->target == "/hang") {
                 arrived.set();
                 c.wait_closed();
                 return;
               }
               c.write(ok("fine"));
             }
           });
           T transport;
           std::atomic<bool> done{false};
           std::atomic<int> bad{0};
           std::thread other([&] {
             while (!done) {
               try {
                 if (http::fetch(transport, get(server.url())).body != "fine")
                   ++bad;
               } catch (...) {
                 ++bad;
               }
             }
           });
           std::chrono::milliseconds took{};
           auto const e = cancel_after(transport, get(server.url("/hang")), arrived, took);
           done = true;
           other.join();
           CHECK(e.kind() == errc::cancelled);
           CHECK(bad == 0);
         }},
#endif
  };
}

}  // namespace hf::conformance

#endif
