#ifndef HF_SANDBOX_TESTING_WAIT_HPP
#define HF_SANDBOX_TESTING_WAIT_HPP

#include <hf/sandbox/detail/stop_token.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>

namespace hf::testing {

/// An error as a transport would throw it; what broke after connecting may have reached the peer.
[[nodiscard]] inline error transport_error(errc code, std::string message) {
  error_details details;
  details.may_have_reached_peer = code != errc::invalid_argument && code != errc::unsupported &&
                                  code != errc::resolve_failed && code != errc::connect_failed &&
                                  code != errc::tls_failed;
  return error(code, std::move(message), std::move(details));
}

/// Lets a silent peer's time pass for a request: returns after `time`, or throws what a transport
/// throws when a limit or the stop token comes first.
inline void pass_time(http::request const& rq, std::chrono::milliseconds time) {
  if (time.count() <= 0)
    return;
  auto const now = std::chrono::steady_clock::now();
  auto until = now + time;
  bool limited = false;
  if (rq.stall_timeout.count() > 0 && rq.stall_timeout < time) {
    until = now + rq.stall_timeout;
    limited = true;
  }
  if (rq.deadline && *rq.deadline < until) {
    until = *rq.deadline;
    limited = true;
  }
  std::mutex mutex;
  std::condition_variable changed;
  bool stopped = false;
  auto const stop = [&] {
    std::lock_guard const lock(mutex);
    stopped = true;
    changed.notify_all();
  };
  bool was_stopped = false;
  {
    stop_callback<decltype(stop)> const on_stop(rq.stop, stop);
    std::unique_lock lock(mutex);
    was_stopped = changed.wait_until(lock, until, [&] { return stopped; });
  }
  if (was_stopped)
    throw transport_error(errc::cancelled, "the request was cancelled");
  if (limited)
    throw transport_error(errc::request_timed_out, "the peer was silent for too long");
}

}  // namespace hf::testing

#endif
