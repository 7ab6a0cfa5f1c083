#ifndef HF_SANDBOX_DETAIL_PARALLEL_HPP
#define HF_SANDBOX_DETAIL_PARALLEL_HPP

#include <hf/sandbox/detail/linked_stop.hpp>
#include <hf/sandbox/error.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace hf::detail {

/// Runs numbered tasks on threads that exist only within `run`. The first exception of a task or of
/// `tick` stops the rest and is rethrown once all threads have ended; `errc::cancelled` when the
/// stop came from outside and tasks were left.
template <class Stop>
class parallel_run {
 public:
  /// `stop` is requested when something fails; tasks have to heed it.
  explicit parallel_run(Stop& stop) : stop_(stop) {}

  /// Performs `task(0)` to `task(count - 1)` in this order, up to `threads` at once; calls `tick`
  /// on the calling thread after every `report`, several reports at once counting as one.
  template <class Thread = std::thread>
  void run(std::size_t count, std::size_t threads, std::function<void(std::size_t)> const& task,
           std::function<void()> const& tick) {
    count_ = count;
    std::vector<Thread> workers;
    workers.reserve((std::min)(threads, count));
    for (std::size_t i = 0; i < (std::min)(threads, count); ++i) {
      {
        std::lock_guard const lock(mutex_);
        ++active_;
      }
      try {
        workers.emplace_back([this, &task] { work(task); });
      } catch (std::system_error const&) {
        std::lock_guard const lock(mutex_);
        --active_;
        break;
      }
    }
    if (workers.empty() && count > 0) {
      active_ = 1;
      work(task);
    }
    wait(tick);
    for (auto& worker : workers)
      worker.join();
    if (failure_)
      std::rethrow_exception(failure_);
    if (next_ < count_)
      throw error(errc::cancelled, "the transfer was cancelled");
  }

  /// Something has moved on; from any task.
  void report() {
    std::lock_guard const lock(mutex_);
    moved_ = true;
    changed_.notify_one();
  }

 private:
  void work(std::function<void(std::size_t)> const& task) {
    std::unique_lock lock(mutex_);
    while (next_ < count_ && !failure_ && !stop_.requested()) {
      auto const mine = next_++;
      lock.unlock();
      std::exception_ptr failed;
      try {
        task(mine);
      } catch (...) {
        failed = std::current_exception();
      }
      lock.lock();
      if (failed)
        fail(failed, lock);
    }
    --active_;
    changed_.notify_one();
  }

  void fail(std::exception_ptr const& what, std::unique_lock<std::mutex>& lock) {
    if (failure_)
      return;
    failure_ = what;
    // Callbacks of the stop may call back here.
    lock.unlock();
    stop_.request();
    lock.lock();
  }

  void wait(std::function<void()> const& tick) {
    std::unique_lock lock(mutex_);
    while (active_ > 0 || moved_) {
      changed_.wait(lock, [&] { return moved_ || active_ == 0; });
      if (!moved_)
        continue;
      moved_ = false;
      if (failure_ || !tick)
        continue;
      lock.unlock();
      std::exception_ptr failed;
      try {
        tick();
      } catch (...) {
        failed = std::current_exception();
      }
      lock.lock();
      if (failed)
        fail(failed, lock);
    }
  }

  Stop& stop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t count_ = 0;
  std::size_t next_ = 0;
  std::size_t active_ = 0;
  bool moved_ = false;
  std::exception_ptr failure_;
};

}  // namespace hf::detail

#endif
