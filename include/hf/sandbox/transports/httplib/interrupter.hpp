#ifndef HF_SANDBOX_TRANSPORTS_HTTPLIB_INTERRUPTER_HPP
#define HF_SANDBOX_TRANSPORTS_HTTPLIB_INTERRUPTER_HPP

#include <hf/sandbox/detail/stop_token.hpp>
#include <hf/sandbox/http/request.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace hf::detail {

/// Ends a client's exchange from outside, at a stop request or at the deadline.
///
/// The client's own `stop` may block while it connects, so that it is called on a thread of ours:
/// one that exists only with a deadline, or from a stop request on. The destructor joins it.
template <class Client>
class httplib_interrupter {
 public:
  httplib_interrupter(Client& client, http::request const& rq)
      : client_(client), on_stop_(rq.stop, wake{this}) {
    if (rq.deadline)
      start(rq.deadline);
  }
  httplib_interrupter(httplib_interrupter const&) = delete;
  httplib_interrupter& operator=(httplib_interrupter const&) = delete;

  ~httplib_interrupter() {
    std::thread ending;
    {
      std::lock_guard const lock(mutex_);
      done_ = true;
      changed_.notify_all();
      ending = std::move(thread_);
    }
    if (ending.joinable())
      ending.join();
  }

 private:
  struct wake {
    httplib_interrupter* self;
    void operator()() const {
      {
        std::lock_guard const lock(self->mutex_);
        self->stopped_ = true;
        self->changed_.notify_all();
      }
      self->start(std::nullopt);
    }
  };

  void start(std::optional<std::chrono::steady_clock::time_point> at) {
    std::lock_guard const lock(mutex_);
    if (thread_.joinable() || done_)
      return;
    thread_ = std::thread([this, at] { run(at); });
  }

  void run(std::optional<std::chrono::steady_clock::time_point> at) {
    std::unique_lock lock(mutex_);
    if (at)
      changed_.wait_until(lock, *at, [this] { return done_ || stopped_; });
    // The exchange may not have begun when it is stopped for the first time.
    while (!done_) {
      lock.unlock();
      client_.stop();
      lock.lock();
      changed_.wait_for(lock, std::chrono::milliseconds(10), [this] { return done_; });
    }
  }

  Client& client_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
  bool stopped_ = false;
  bool done_ = false;
  stop_callback<wake> on_stop_;
};

}  // namespace hf::detail

#endif
