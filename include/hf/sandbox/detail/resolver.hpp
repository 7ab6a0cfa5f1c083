#ifndef HF_SANDBOX_DETAIL_RESOLVER_HPP
#define HF_SANDBOX_DETAIL_RESOLVER_HPP

#include <hf/sandbox/detail/request_clock.hpp>
#include <hf/sandbox/detail/stop_token.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/url.hpp>

#if defined(_WIN32)
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#endif

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace hf::detail {

/// Asks the system's resolver; numeric addresses in its order, empty when there are none.
template <class = void>
[[nodiscard]] std::vector<std::string> look_up(std::string const& host, bool numeric_only) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  if (numeric_only)
    hints.ai_flags = AI_NUMERICHOST;
  addrinfo* list = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0)
    return {};
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> const owner(list, &::freeaddrinfo);
  std::vector<std::string> out;
  for (auto const* at = list; at != nullptr; at = at->ai_next) {
    std::array<char, 128> text{};
    if (::getnameinfo(at->ai_addr, static_cast<socklen_t>(at->ai_addrlen), text.data(),
                      static_cast<socklen_t>(text.size()), nullptr, 0, NI_NUMERICHOST) == 0 &&
        std::find(out.begin(), out.end(), text.data()) == out.end())
      out.emplace_back(text.data());
  }
  return out;
}

/// Numeric addresses of a host, within the limits of a request: `errc::resolve_failed`,
/// `errc::cancelled`, `errc::request_timed_out`.
///
/// A look-up cannot be interrupted, so a thread makes it; when the caller gives up first, that
/// thread ends by itself and nobody waits for it.
template <class Request>
[[nodiscard]] std::vector<std::string> resolve(std::string const& host, Request const& rq,
                                               request_clock const& clock) {
  if (http::is_localhost_name(host))
    return {"127.0.0.1", "::1"};
  if (host.find(':') != std::string::npos)
    return {host};
  if (auto numeric = look_up(host, true); !numeric.empty())
    return numeric;

  struct state {
    std::mutex mutex = {};
    std::condition_variable changed = {};
    std::vector<std::string> found = {};
    bool done = false;
    bool stopped = false;
  };
  auto const shared = std::make_shared<state>();
  std::thread worker([shared, host] {
    auto found = look_up(host, false);
    std::lock_guard const lock(shared->mutex);
    shared->found = std::move(found);
    shared->done = true;
    shared->changed.notify_all();
  });
  auto const stop = [&] {
    std::lock_guard const lock(shared->mutex);
    shared->stopped = true;
    shared->changed.notify_all();
  };
  bool done = false;
  {
    stop_callback<decltype(stop)> const on_stop(rq.stop, stop);
    std::unique_lock lock(shared->mutex);
    auto const over = [&] { return shared->done || shared->stopped; };
    while (!over() && !clock.expired())
      shared->changed.wait_for(lock, clock.left(std::chrono::hours(1)), over);
    done = shared->done;
  }
  if (!done) {
    worker.detach();
    if (rq.stop.stop_requested())
      throw error(errc::cancelled, "the request was cancelled while " + host + " was looked up");
    throw error(errc::request_timed_out, "the address of " + host + " was not found in time");
  }
  worker.join();
  if (shared->found.empty())
    throw error(errc::resolve_failed, "the host " + host + " has no address");
  return std::move(shared->found);
}

}  // namespace hf::detail

#endif
