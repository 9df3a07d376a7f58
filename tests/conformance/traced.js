'use strict';
// Adds a job inside a span, as an API with bullmq-otel does: node traced.js REDIS_PORT QUEUE DATA_JSON OPTIONS_JSON
const { context, propagation, trace } = require('@opentelemetry/api');
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
const { W3CTraceContextPropagator } = require('@opentelemetry/core');
const { AlwaysOffSampler, AlwaysOnSampler, BasicTracerProvider } = require('@opentelemetry/sdk-trace-base');
const { Queue } = require('bullmq');
const { BullMQOtel } = require('bullmq-otel');

const [port, name, data, options] = process.argv.slice(2);
const { sampled = true, ...jobOptions } = JSON.parse(options);

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
trace.setGlobalTracerProvider(new BasicTracerProvider({ sampler: sampled ? new AlwaysOnSampler() : new AlwaysOffSampler() }));

(async () => {
  const queue = new Queue(name, { connection: { host: '127.0.0.1', port: Number(port) }, telemetry: new BullMQOtel({ tracerName: 'api' }) });
  const span = trace.getTracer('api').startSpan('POST /photos');
  const job = await context.with(trace.setSpan(context.active(), span), () => queue.add('process-photo', JSON.parse(data), jobOptions));
  span.end();
  console.log(JSON.stringify({ id: job.id, traceId: span.spanContext().traceId, spanId: span.spanContext().spanId }));
  await queue.close();
})();
