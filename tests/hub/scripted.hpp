#ifndef HF_SANDBOX_TESTS_HUB_SCRIPTED_HPP
#define HF_SANDBOX_TESTS_HUB_SCRIPTED_HPP

#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace hf::testing_support {

/// The Hub as a function: answers, or throws what a transport would.
struct scripted {
  std::function<http::response(http::request const&)> answer;
  std::vector<std::string> calls;

  void send(http::request const& rq, http::response_sink& sink) {
    auto const path = rq.url.substr(rq.url.find('/', 8));
    calls.push_back(rq.method + " " + path);
    auto const r = answer(rq);
    if (sink.on_head({r.status, r.fields}) == http::flow::more)
      sink.on_data(std::as_bytes(std::span(r.body)));
  }
  [[nodiscard]] int count(std::string const& start) const {
    int n = 0;
    for (auto const& call : calls)
      if (call.compare(0, start.size(), start) == 0)
        ++n;
    return n;
  }
};

}  // namespace hf::testing_support

#endif
