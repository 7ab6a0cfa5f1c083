#ifndef HF_SANDBOX_HUB_ANSWER_ERROR_HPP
#define HF_SANDBOX_HUB_ANSWER_ERROR_HPP

#include <hf/sandbox/agent/answer_error.hpp>
#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/detail/printable.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/response.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

namespace hf::hub {

/// Seconds after which the Hub wants to be asked again: `Retry-After`, else, when the answer says
/// that the window is used up (429), the `t=` of its `RateLimit` field (`"api";r=0;t=55`); negative
/// when it did not say. The Hub sends that field with every answer, where it asks for nothing.
template <class = void>
[[nodiscard]] double retry_after_seconds(http::response const& answer) {
  double const after = detail::retry_after_seconds(answer.fields);
  if (after >= 0 || answer.status != 429)
    return after;
  std::string const limit(answer.fields.get("RateLimit"));
  for (std::size_t at = 0; (at = limit.find("t=", at)) != std::string::npos; at += 2) {
    if (at == 0 || (limit[at - 1] != ';' && limit[at - 1] != ' '))
      continue;
    char* end = nullptr;
    double const seconds = std::strtod(limit.c_str() + at + 2, &end);
    return end == limit.c_str() + at + 2 || !(seconds >= 0) ? -1 : seconds;
  }
  return -1;
}

/// The Hub's id for a request, for support questions; empty when it sent none.
template <class = void>
[[nodiscard]] std::string request_id(http::headers const& fields) {
  for (char const* const name : {"X-Request-Id", "X-Amzn-Trace-Id", "X-Amz-Cf-Id"})
    if (auto const id = fields.get(name); !id.empty())
      return std::string(id);
  return {};
}

/// What the Hub says went wrong: its `X-Error-Message`, else the body's `error` (a text or a list),
/// `error_description` or `errors[].message`, else the body's start.
template <class Json = nlohmann::json>
[[nodiscard]] std::string error_text(http::response const& answer) {
  if (auto const text = answer.fields.get("X-Error-Message"); !text.empty())
    return std::string(text);
  auto const body = detail::parse_json<Json>(answer.body, 1000);
  std::string out;
  auto const take = [&](Json const& value) {
    if (value.is_string())
      out += (out.empty() ? "" : "; ") + value.template get<std::string>();
  };
  if (body.is_object()) {
    if (auto const it = body.find("error"); it != body.end()) {
      if (it->is_array())
        for (auto const& item : *it)
          take(item);
      take(*it);
    }
    if (auto const it = body.find("error_description"); it != body.end())
      take(*it);
    if (auto const it = body.find("errors"); it != body.end() && it->is_array())
      for (auto const& item : *it)
        if (item.is_object() && item.contains("message"))
          take(item["message"]);
  }
  if (!out.empty())
    return out;
  return answer.body.substr(0, 2000);
}

/// Turns an answer of the Hub with status >= 400 (or an unexpected redirect) into an error.
/// `doing` names the call for people; `secret` is kept out of the text.
template <class Json = nlohmann::json>
[[nodiscard]] error answer_error(std::string_view doing, http::response const& answer,
                                 std::string_view secret) {
  error_details details;
  details.http_status = answer.status;
  details.where = hop::hub;
  detail::secret_list const secrets{std::string(secret)};
  details.request_id = detail::peer_text(request_id(answer.fields), secrets, 200);
  details.retry_after_s = retry_after_seconds(answer);
  details.may_have_reached_peer = true;
  errc code = detail::errc_of_status(answer.status);
  if (answer.status == 408 || answer.status == 429 || answer.status >= 500)
    details.retry = retry_advice::yes;

  std::string message = "the Hugging Face Hub cannot " + std::string(doing) + ": ";
  auto const text = detail::peer_text(error_text<Json>(answer), secrets);
  message += text.empty() ? "no reason given" : text;
  message += " (HTTP " + std::to_string(answer.status);
  if (auto const named = answer.fields.get("X-Error-Code"); !named.empty())
    message += ", " + detail::peer_text(named, secrets, 100);
  if (!details.request_id.empty())
    message += ", request " + details.request_id;
  message += ")";
  if (code == errc::unauthenticated)
    message += "; check the token (`hf auth whoami`, HF_TOKEN)";
  if (code == errc::quota_exceeded)
    message += "; jobs need credit: https://huggingface.co/settings/billing";
  return error(code, std::move(message), std::move(details));
}

}  // namespace hf::hub

#endif
