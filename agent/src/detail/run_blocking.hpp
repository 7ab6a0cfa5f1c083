#ifndef HF_SANDBOX_AGENT_DETAIL_RUN_BLOCKING_HPP
#define HF_SANDBOX_AGENT_DETAIL_RUN_BLOCKING_HPP

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace hf::agent {

/// Runs `work()` on a thread of `pool` and comes back to the coroutine's own executor with what it
/// returned or threw. `work` must not touch what belongs to the event loop.
template <class Work>
boost::asio::awaitable<std::invoke_result_t<Work&>> run_blocking(boost::asio::thread_pool& pool,
                                                                 Work work) {
  namespace asio = boost::asio;
  using result = std::invoke_result_t<Work&>;
  using stored = std::conditional_t<std::is_void_v<result>, bool, result>;
  struct state {
    explicit state(Work w) : work(std::move(w)) {}
    Work work;
    std::optional<stored> value;
    std::exception_ptr error;
  };
  auto shared = std::make_shared<state>(std::move(work));
  // Named, because g++ 12 destroys captures of a temporary in a co_await expression twice.
  auto initiate = [&pool, shared](auto resume) {
    auto executor = asio::get_associated_executor(resume);
    auto guard = asio::make_work_guard(executor);
    asio::post(pool, [shared, guard = std::move(guard), resume = std::move(resume)]() mutable {
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
