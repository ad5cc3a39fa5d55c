// Unpacks what main/tracks/report/data.py packed.

async function gunzip(text) {
  const packed = atob(text);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A column as numbers, NaN where missing.
async function decode(column) {
  const bytes = await gunzip(column.data);
  const { n, low, step, planes } = column;
  const values = new Float64Array(n);
  let code = 0;
  for (let i = 0; i < n; i++) {
    let change = 0;
    for (let plane = planes - 1; plane >= 0; plane--) change = change * 256 + bytes[plane * n + i];
    code += change % 2 ? -(change + 1) / 2 : change / 2;
    values[i] = code ? low + (code - 1) * step : NaN;
  }
  return values;
}

async function decodeAll(columns, names) {
  const decoded = {};
  for (const name of names) if (columns[name]) decoded[name] = await decode(columns[name]);
  return decoded;
}
