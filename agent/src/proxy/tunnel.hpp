#ifndef HF_SANDBOX_AGENT_PROXY_TUNNEL_HPP
#define HF_SANDBOX_AGENT_PROXY_TUNNEL_HPP

#include "http/stream.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

namespace hf::agent {

/// Carries bytes both ways until both sides have ended or one is lost. The end of one side is
/// passed on; once the server has ended, the caller gets ten seconds to do the same.
boost::asio::awaitable<void> tunnel(boost::asio::io_context& loop, stream& caller, stream& server);

}  // namespace hf::agent

#endif
