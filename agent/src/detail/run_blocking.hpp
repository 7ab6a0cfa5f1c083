#ifndef HF_SANDBOX_AGENT_DETAIL_RUN_BLOCKING_HPP
#define HF_SANDBOX_AGENT_DETAIL_RUN_BLOCKING_HPP

#include "detail/blocking_pool.hpp"

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cerrno>
#include <exception>
#include <memory>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

namespace hf::agent {

template <class Work>
void submit_blocking(boost::asio::thread_pool& pool, Work work) {
  boost::asio::post(pool, std::move(work));
}
template <class Work>
void submit_blocking(blocking_pool& pool, Work work) {
  pool.submit(std::move(work));
}
inline bool is_overloaded(boost::asio::thread_pool const&) {
  return false;
}
inline bool is_overloaded(blocking_pool const& pool) {
  return pool.overloaded();
}

/// Runs `work()` on a thread of `pool` (a `blocking_pool`, or Asio's for what cannot hang) and
/// comes back to the coroutine's own executor with what it returned or threw. `work` must not touch
/// what belongs to the event loop. Throws EAGAIN when the pool is overloaded.
template <class Pool, class Work>
boost::asio::awaitable<std::invoke_result_t<Work&>> run_blocking(Pool& pool, Work work) {
  namespace asio = boost::asio;
  using result = std::invoke_result_t<Work&>;
  using stored = std::conditional_t<std::is_void_v<result>, bool, result>;
  struct state {
    explicit state(Work w) : work(std::move(w)) {}
    Work work;
    std::optional<stored> value;
    std::exception_ptr error;
  };
  if (is_overloaded(pool))
    throw std::system_error(EAGAIN, std::generic_category(), "file operations hang");
  auto shared = std::make_shared<state>(std::move(work));
  // Named, because g++ 12 destroys captures of a temporary in a co_await expression twice.
  auto initiate = [&pool, shared](auto resume) {
    auto executor = asio::get_associated_executor(resume);
    auto guard = asio::make_work_guard(executor);
    submit_blocking(pool, [shared, guard = std::move(guard), resume = std::move(resume)]() mutable {
      try {
        if constexpr (std::is_void_v<result>)
          shared->work();
        else
          shared->value.emplace(shared->work());
      } catch (...) {
        shared->error = std::current_exception();
      }
      asio::post(guard.get_executor(), std::move(resume));
    });
  };
  co_await asio::async_initiate<asio::use_awaitable_t<> const, void()>(std::move(initiate),
                                                                       asio::use_awaitable);
  if (shared->error)
    std::rethrow_exception(shared->error);
  if constexpr (!std::is_void_v<result>)
    co_return std::move(*shared->value);
}

}  // namespace hf::agent

#endif
