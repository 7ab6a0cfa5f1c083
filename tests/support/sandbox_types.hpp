#ifndef HF_SANDBOX_TESTS_SUPPORT_SANDBOX_TYPES_HPP
#define HF_SANDBOX_TESTS_SUPPORT_SANDBOX_TYPES_HPP

// The transports that this build has, as a list for TEMPLATE_TEST_CASE.
#include <hf/sandbox/transports/curl.hpp>
#if defined(HF_SANDBOX_HAS_BEAST)
#include <hf/sandbox/transports/beast.hpp>
#endif
#if defined(HF_SANDBOX_HAS_HTTPLIB)
#include <hf/sandbox/transports/httplib.hpp>
#endif

#if defined(HF_SANDBOX_HAS_BEAST) && defined(HF_SANDBOX_HAS_HTTPLIB)
#define HF_SANDBOX_TEST_TRANSPORTS hf::curl_transport, hf::beast_transport, hf::httplib_transport
#elif defined(HF_SANDBOX_HAS_BEAST)
#define HF_SANDBOX_TEST_TRANSPORTS hf::curl_transport, hf::beast_transport
#elif defined(HF_SANDBOX_HAS_HTTPLIB)
#define HF_SANDBOX_TEST_TRANSPORTS hf::curl_transport, hf::httplib_transport
#else
#define HF_SANDBOX_TEST_TRANSPORTS hf::curl_transport
#endif

#endif
