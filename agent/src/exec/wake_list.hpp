#ifndef HF_SANDBOX_AGENT_EXEC_WAKE_LIST_HPP
#define HF_SANDBOX_AGENT_EXEC_WAKE_LIST_HPP

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <vector>

namespace hf::agent {

/// Where coroutines of the loop's thread wait for a change. Who wakes up looks for himself at what
/// has changed.
class wake_list {
 public:
  wake_list() = default;
  wake_list(wake_list const&) = delete;
  wake_list& operator=(wake_list const&) = delete;

  /// Returns at the next `notify`, or when the time is over.
  boost::asio::awaitable<void> wait(boost::asio::any_io_executor executor,
                                    std::chrono::steady_clock::duration longest) {
    boost::asio::steady_timer timer(executor, longest);
    entry const here(*this, timer);
    boost::system::error_code ignored;
    co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  }

  void notify() {
    for (auto* timer : waiting_)
      timer->cancel();
  }

 private:
  struct entry {
    entry(wake_list& owner, boost::asio::steady_timer& timer) : list(owner), mine(&timer) {
      list.waiting_.push_back(mine);
    }
    entry(entry const&) = delete;
    entry& operator=(entry const&) = delete;
    ~entry() {
      auto& all = list.waiting_;
      all.erase(std::remove(all.begin(), all.end(), mine), all.end());
    }
    wake_list& list;
    boost::asio::steady_timer* mine;
  };

  std::vector<boost::asio::steady_timer*> waiting_;
};

}  // namespace hf::agent

#endif
