#ifndef HF_SANDBOX_TESTING_CONFORMANCE_CASE_LIMIT_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_CASE_LIMIT_HPP

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace hf::conformance {

/// Aborts the program, with the case's name, when a case is not over in time. A call that hangs
/// cannot be ended from outside, and no later case could be trusted beside it.
class case_limit {
 public:
  case_limit(std::string name, std::chrono::milliseconds limit)
      : name_(std::move(name)), limit_(limit), thread_([this] { watch(); }) {}
  case_limit(case_limit const&) = delete;
  case_limit& operator=(case_limit const&) = delete;
  ~case_limit() {
    {
      std::lock_guard const lock(mutex_);
      over_ = true;
      changed_.notify_all();
    }
    thread_.join();
  }

  /// What each case of the suite has: far more than any needs.
  static std::chrono::milliseconds standard() {
    char const* const scale = std::getenv("HF_SANDBOX_TEST_SCALE");
    bool const full = scale != nullptr && std::string(scale) == "full";
    return std::chrono::minutes(full ? 20 : 2);
  }

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, limit_, [this] { return over_; }))
      return;
    std::fprintf(stderr, "\"%s\" hangs: it was not over after %lld ms\n", name_.c_str(),
                 static_cast<long long>(limit_.count()));
    std::abort();
  }

  std::string name_;
  std::chrono::milliseconds limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace hf::conformance

#endif
