#ifndef HF_SANDBOX_DETAIL_SLEEP_HPP
#define HF_SANDBOX_DETAIL_SLEEP_HPP

#include <hf/sandbox/detail/stop_token.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace hf::detail {

/// Sleeps until `until`; returns false at once when `stop` asks for an end before.
template <class = void>
bool sleep_until(std::chrono::steady_clock::time_point until, stop_token const& stop) {
  std::mutex mutex;
  std::condition_variable wake;
  bool stopped = false;
  auto const on_stop = [&] {
    std::lock_guard const lock(mutex);
    stopped = true;
    wake.notify_all();
  };
  stop_callback<decltype(on_stop)> const registration(stop, on_stop);
  std::unique_lock lock(mutex);
  return !wake.wait_until(lock, until, [&] { return stopped; });
}

/// Sleeps for `time`; returns false at once when `stop` asks for an end before.
template <class = void>
bool sleep_for(std::chrono::steady_clock::duration time, stop_token const& stop) {
  return sleep_until(std::chrono::steady_clock::now() + time, stop);
}

}  // namespace hf::detail

#endif
