#ifndef HF_SANDBOX_AGENT_DETAIL_BLOCKING_POOL_HPP
#define HF_SANDBOX_AGENT_DETAIL_BLOCKING_POOL_HPP

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace hf::agent {

/// Threads for work that waits for somebody else, a file system for instance. Work that hangs keeps
/// its thread, possibly for good, so threads are added while all are busy, up to a limit; those
/// that were added end when there is nothing to do.
class blocking_pool {
 public:
  struct options {
    /// Always there.
    std::size_t least = 4;
    std::size_t most = 64;
    /// The pool is overloaded when all threads are busy and work has waited for so long. Zero:
    /// never.
    std::chrono::milliseconds overloaded_after{0};
    /// How long an added thread waits for work.
    std::chrono::milliseconds idle{10'000};
  };

  explicit blocking_pool(options bounds);
  blocking_pool(blocking_pool const&) = delete;
  blocking_pool& operator=(blocking_pool const&) = delete;
  /// Waits for the work under way; what has not begun is dropped.
  ~blocking_pool();

  /// Runs `work()`, which must not throw, on one of the threads.
  template <class Work>
  void submit(Work work) {
    add(std::make_unique<task_of<Work>>(std::move(work)));
  }

  /// Work hangs on all threads, and more of it would only wait.
  [[nodiscard]] bool overloaded() const;

  [[nodiscard]] std::size_t threads() const;

 private:
  using clock = std::chrono::steady_clock;
  struct task {
    virtual ~task() = default;
    virtual void run() = 0;
    clock::time_point since = clock::now();
  };
  template <class Work>
  struct task_of final : task {
    explicit task_of(Work w) : work(std::move(w)) {}
    void run() override { work(); }
    Work work;
  };

  void add(std::unique_ptr<task> one);
  void add_thread(bool permanent);
  void serve(std::size_t place, bool permanent);

  options bounds_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<task>> waiting_;
  /// By place; a thread that has ended leaves its place to be joined and taken again.
  std::vector<std::thread> threads_;
  std::vector<std::size_t> ended_;
  std::size_t running_ = 0;
  std::size_t idle_ = 0;
  bool stopping_ = false;
};

}  // namespace hf::agent

#endif
