#ifndef HF_SANDBOX_HUB_RETRY_HPP
#define HF_SANDBOX_HUB_RETRY_HPP

#include <hf/sandbox/detail/backoff.hpp>
#include <hf/sandbox/detail/sleep.hpp>
#include <hf/sandbox/error.hpp>

#include <algorithm>
#include <chrono>
#include <optional>

namespace hf::hub {

/// How calls to the Hub that can do no harm twice are repeated.
struct retry_policy {
  /// Tries in all; 1: never repeat.
  int attempts = 6;
  /// First pause; it doubles up to `longest`, each with jitter.
  std::chrono::milliseconds first{1000};
  /// Longest pause that is not the server's wish.
  std::chrono::milliseconds longest{8000};
  /// Longest wait that the server may ask for (`Retry-After`, `RateLimit`); beyond it the call
  /// fails with `errc::rate_limited` at once.
  std::chrono::milliseconds longest_asked{90'000};
  /// How long a job is looked for whose start was not answered: the Hub may still be at it.
  std::chrono::milliseconds late{5000};
};

/// Whether a failed call to the Hub is worth repeating, when repeating can do no harm.
template <class = void>
[[nodiscard]] bool is_transient(error const& e) noexcept {
  switch (e.kind()) {
    case errc::connect_failed:
    case errc::connection_lost:
    case errc::request_timed_out:
    case errc::resolve_failed:
    case errc::rate_limited:
      return true;
    case errc::server_error:
      return e.http_status() == 500 || (e.http_status() >= 502 && e.http_status() <= 504);
    default:
      return false;
  }
}

/// The pause before asking again: the usual one, or longer when the failure names a time.
template <class = void>
[[nodiscard]] std::chrono::milliseconds pause_after(error const& failure,
                                                    std::chrono::milliseconds usual,
                                                    retry_policy const& policy) {
  auto const asked = std::chrono::duration<double>(failure.details().retry_after_s);
  auto const most = std::chrono::duration<double>(policy.longest_asked);
  return (std::max)(usual,
                    std::chrono::duration_cast<std::chrono::milliseconds>((std::min)(asked, most)));
}

/// Counts the tries of one call and waits between them.
template <class Policy>
class retry_loop {
 public:
  /// What deadlines are measured with.
  using clock = std::chrono::steady_clock;

  /// For one call that has to be over by the deadline; nothing: no limit.
  retry_loop(Policy const& policy, std::optional<clock::time_point> deadline)
      : policy_(policy), deadline_(deadline), pauses_(policy.first, policy.longest) {}

  /// Waits before the next try. False: there is none (tries used up, the wait would be too long or
  /// pass the deadline). Throws `errc::cancelled` when `stop` asks for an end.
  [[nodiscard]] bool wait(error const& failure, stop_token const& stop) {
    if (++used_ >= policy_.attempts)
      return false;
    auto pause = pauses_.next();
    if (failure.details().retry_after_s >= 0) {
      auto const asked = std::chrono::duration<double>(failure.details().retry_after_s);
      if (asked > policy_.longest_asked)
        return false;
      pause += std::chrono::duration_cast<std::chrono::milliseconds>(asked);
    }
    auto const until = clock::now() + pause;
    if (deadline_ && until >= *deadline_)
      return false;
    if (!detail::sleep_until(until, stop))
      throw error(errc::cancelled, "a call to the Hugging Face Hub was cancelled");
    return true;
  }

 private:
  Policy policy_;
  std::optional<clock::time_point> deadline_;
  detail::backoff pauses_;
  int used_ = 0;
};

}  // namespace hf::hub

#endif
