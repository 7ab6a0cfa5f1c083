#ifndef HF_SANDBOX_AGENT_CONTEXT_HPP
#define HF_SANDBOX_AGENT_CONTEXT_HPP

#include "detail/blocking_pool.hpp"
#include "lifetime/activity.hpp"

#include <boost/asio/io_context.hpp>

#include <string>

namespace hf::agent {

/// What the route families share; lives in `main` for as long as the agent runs.
struct context {
  /// The event loop; one thread runs it.
  boost::asio::io_context& loop;
  /// For file operations that may block.
  blocking_pool& blocking;
  hf::agent::activity& activity;
  /// Random id of this agent since its start, 32 hexadecimal digits.
  std::string instance;
};

}  // namespace hf::agent

#endif
