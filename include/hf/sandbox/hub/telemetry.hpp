#ifndef HF_SANDBOX_HUB_TELEMETRY_HPP
#define HF_SANDBOX_HUB_TELEMETRY_HPP

#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/fetch.hpp>
#include <hf/sandbox/http/transport_ref.hpp>
#include <hf/sandbox/hub/credentials.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace hf::hub {

/// Whether anonymous usage events may be sent: not when `HF_HUB_DISABLE_TELEMETRY`, `DO_NOT_TRACK`,
/// `DISABLE_TELEMETRY` or `HF_HUB_OFFLINE` is on.
template <class = void>
[[nodiscard]] bool telemetry_allowed(environment const& env) {
  for (char const* const name :
       {"HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "DISABLE_TELEMETRY", "HF_HUB_OFFLINE"})
    if (is_on(env, name))
      return false;
  return true;
}

/// A usage event: everything it says is in these texts.
struct telemetry_event {
  /// "create" or "terminate".
  std::string name = {};
  /// The `User-Agent` that carries the data.
  std::string user_agent = {};
};

/// A sandbox was created. `session_id` is random and stands for nothing else.
template <class = void>
[[nodiscard]] telemetry_event create_event(std::string const& session_id, std::string const& flavor,
                                           std::chrono::seconds timeout, bool forward_hf_token) {
  // A flavor is a name of the Hub's; anything else that a caller may have written is not sent.
  bool const plain =
      flavor.size() <= 40 &&
      flavor.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
  return {"create", std::string(user_agent_product) + "; session_id/" + session_id + "; flavor/" +
                        (plain ? flavor : "other") + "; timeout/" +
                        std::to_string(timeout.count()) + "; forward_hf_token/" +
                        (forward_hf_token ? "true" : "false")};
}

/// A sandbox was ended. `reason` is "user", "destructor" or "atexit".
template <class = void>
[[nodiscard]] telemetry_event terminate_event(std::string const& session_id,
                                              std::chrono::seconds duration,
                                              std::string_view reason) {
  return {"terminate", std::string(user_agent_product) + "; session_id/" + session_id +
                           "; duration_s/" + std::to_string(duration.count()) + "; reason/" +
                           std::string(reason)};
}

/// Sends events from a thread of its own that exists only while there is something to send.
///
/// Sending never delays a caller and never fails: errors are swallowed, a backlog is cut at 64
/// events. The destructor waits at most 1 s for what is under way. The transports that events are
/// given must live until then.
template <class Request = http::request>
class telemetry_sender {
 public:
  telemetry_sender() = default;
  telemetry_sender(telemetry_sender const&) = delete;
  telemetry_sender& operator=(telemetry_sender const&) = delete;
  ~telemetry_sender() { finish(); }

  /// Queues an event. No credentials travel with it.
  void send(http::transport_ref through, std::string const& endpoint, http::tls_settings const& tls,
            telemetry_event const& event) noexcept {
    try {
      Request rq;
      rq.method = "HEAD";
      rq.url = endpoint + "/api/telemetry/hf-sandbox/" + event.name;
      rq.fields.add("User-Agent", event.user_agent);
      rq.connect_timeout = rq.stall_timeout = longest;
      rq.tls = tls;
      std::unique_lock lock(mutex_);
      if (finished_ || queue_.size() >= 64)
        return;
      queue_.push_back({through, std::move(rq)});
      if (running_)
        return;
      if (thread_.joinable())
        thread_.join();
      running_ = true;
      try {
        thread_ = std::thread([this] { work(); });
      } catch (...) {
        running_ = false;
        queue_.clear();
      }
    } catch (...) {
      // Usage events are not worth an error.
    }
  }

  /// Waits at most 1 s for what is queued, then drops the rest; later events are dropped too.
  void finish() noexcept { finish_within(longest); }

  /// For exit handlers: waits until what is queued has been sent, at most 1 s for all the program's
  /// senders together. Once that is used up, events are dropped, and no thread goes on while the
  /// libraries under it are taken down.
  void flush_at_exit() noexcept {
    static std::atomic<milliseconds::rep> left{longest.count()};
    auto const begin = clock::now();
    bool const idle = wait_until_idle(milliseconds((std::max)(left.load(), milliseconds::rep{0})));
    left -= std::chrono::duration_cast<milliseconds>(clock::now() - begin).count();
    if (idle)
      join_idle_thread();
    else
      finish_within(milliseconds(0));
  }

 private:
  using clock = std::chrono::steady_clock;
  using milliseconds = std::chrono::milliseconds;

  static constexpr milliseconds longest{1000};

  struct item {
    http::transport_ref through;
    http::request rq;
  };

  /// False when it took too long.
  bool wait_until_idle(milliseconds time) noexcept {
    try {
      std::unique_lock lock(mutex_);
      return idle_.wait_for(lock, time, [&] { return !running_; });
    } catch (...) {
      return false;
    }
  }

  /// The thread has nothing more to do and needs the mutex no more; the next event starts another.
  void join_idle_thread() noexcept {
    try {
      std::unique_lock lock(mutex_);
      if (!running_ && thread_.joinable())
        thread_.join();
    } catch (...) {
      // As above.
    }
  }

  void finish_within(milliseconds time) noexcept {
    (void)wait_until_idle(time);
    try {
      {
        std::unique_lock lock(mutex_);
        finished_ = true;
        queue_.clear();
      }
#if defined(__cpp_lib_jthread)
      stop_.request_stop();
#endif
      if (thread_.joinable())
        thread_.join();
    } catch (...) {
      // As above.
    }
  }

  void work() noexcept {
    for (;;) {
      std::optional<item> next;
      {
        std::unique_lock lock(mutex_);
        if (queue_.empty()) {
          running_ = false;
          idle_.notify_all();
          return;
        }
        next.emplace(std::move(queue_.front()));
        queue_.erase(queue_.begin());
      }
      try {
        next->rq.deadline = std::chrono::steady_clock::now() + longest;
#if defined(__cpp_lib_jthread)
        next->rq.stop = stop_.get_token();
#endif
        (void)http::fetch(next->through, next->rq, 65536);
      } catch (...) {
        // As above.
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable idle_;
  std::vector<item> queue_;
  std::thread thread_;
  bool running_ = false;
  bool finished_ = false;
#if defined(__cpp_lib_jthread)
  std::stop_source stop_;
#endif
};

}  // namespace hf::hub

#endif
