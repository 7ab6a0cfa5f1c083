#ifndef HF_SANDBOX_AGENT_LIFETIME_WATCHDOG_HPP
#define HF_SANDBOX_AGENT_LIFETIME_WATCHDOG_HPP

#include "context.hpp"

#include <boost/asio/awaitable.hpp>

#include <chrono>

namespace hf::agent {

/// Returns once nothing has happened for `timeout`. A timeout of zero ends at the first look, after
/// five seconds.
boost::asio::awaitable<void> wait_until_idle(context& shared, std::chrono::seconds timeout);

/// Returns when this much time has passed, whatever goes on.
boost::asio::awaitable<void> wait_until_expired(context& shared, std::chrono::seconds lifetime);

/// Returns once the other end of the pipe is closed; bytes that come are ignored.
boost::asio::awaitable<void> wait_until_orphaned(context& shared, int pipe);

}  // namespace hf::agent

#endif
