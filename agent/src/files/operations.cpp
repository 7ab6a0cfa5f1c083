#include "files/operations.hpp"

#include <hf/sandbox/wire/routes.hpp>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <utility>

namespace hf::agent {
namespace {

/// Of everything that says what the operation does; every part with its length before it.
sha256_digest digest_of(exchange const& ex, std::string_view body) {
  sha256 digest;
  auto const add = [&digest](std::string_view part) {
    digest.update(std::to_string(part.size()) + ":");
    digest.update(part);
  };
  auto const& head = ex.head();
  add(head.method);
  for (auto const& part : head.path)
    add(part);
  for (auto const& parameter : head.query) {
    if (parameter.first == "op")
      continue;
    add(parameter.first);
    add(parameter.second);
  }
  auto const length = ex.content_length();
  add(length ? std::to_string(*length) : "unknown");
  add(body);
  return digest.finish();
}

}  // namespace

file_operations::ticket::~ticket() {
  if (owner_ == nullptr)
    return;
  owner_->registry_.abandon(op_);
  owner_->wake(op_);
}

void file_operations::ticket::complete(json const& body) {
  if (owner_ == nullptr)
    return;
  auto& owner = *std::exchange(owner_, nullptr);
  owner.registry_.complete(op_, 200, body);
  owner.wake(op_);
}

void file_operations::wake(std::string const& op) {
  auto const it = waiting_.find(op);
  if (it == waiting_.end())
    return;
  auto const timers = std::move(it->second);
  waiting_.erase(it);
  for (auto const& waiting : timers)
    waiting->cancel();
}

boost::asio::awaitable<file_operations::ticket> file_operations::enter(exchange& ex,
                                                                       context const& shared,
                                                                       std::string op,
                                                                       std::string_view body) {
  if (op.empty())
    co_return ticket();
  auto const sent_to = ex.head().field("x-sandbox-instance");
  if (!sent_to.empty() && sent_to != shared.instance)
    throw http_error{409, "op_unknown",
                     "the operation was sent to an agent that has ended since; whether it took "
                     "effect is not known"};
  auto const digest = digest_of(ex, body);
  for (;;) {
    auto answer = registry_.begin(op, digest);
    switch (answer.what) {
      case op_registry::verdict::fresh:
        co_return ticket(*this, std::move(op));
      case op_registry::verdict::replay:
        co_return ticket(std::move(answer));
      case op_registry::verdict::conflict:
        throw http_error{409, "conflict", "the operation id was used for another request"};
      case op_registry::verdict::gone:
        throw http_error{410, "op_unknown",
                         "the operation was performed, and its answer is no longer kept"};
      case op_registry::verdict::full:
        throw http_error{503, "resource_exhausted", "too many operations are remembered"};
      case op_registry::verdict::busy:
        break;
    }
    auto const waiting = std::make_shared<timer>(ex.executor(), timer::time_point::max());
    waiting_[op].push_back(waiting);
    boost::system::error_code ignored;
    co_await waiting->async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  }
}

}  // namespace hf::agent
