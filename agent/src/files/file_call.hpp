#ifndef HF_SANDBOX_AGENT_FILES_FILE_CALL_HPP
#define HF_SANDBOX_AGENT_FILES_FILE_CALL_HPP

#include "context.hpp"
#include "files/operations.hpp"
#include "files/root.hpp"
#include "http/exchange.hpp"

#include <memory>

namespace hf::agent {

/// What a file route works with; kept in its coroutine.
struct file_call {
  exchange& ex;
  context& shared;
  std::shared_ptr<file_root const> root;
  std::shared_ptr<file_operations> operations;
};

/// `PUT .../files/write`.
boost::asio::awaitable<void> write_route(file_call call);

}  // namespace hf::agent

#endif
