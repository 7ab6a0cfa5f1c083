#ifndef HF_SANDBOX_AGENT_CONTEXT_HPP
#define HF_SANDBOX_AGENT_CONTEXT_HPP

#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include "lifetime/activity.hpp"

namespace hf::agent {

/// What the route families share; lives in `main` for as long as the agent runs.
struct context {
  /// The event loop; one thread runs it.
  boost::asio::io_context& loop;
  /// For file operations that may block.
  boost::asio::thread_pool& blocking;
  hf::agent::activity& activity;
  /// Random id of this agent since its start, 32 hexadecimal digits.
  std::string instance;
};

}  // namespace hf::agent

#endif
