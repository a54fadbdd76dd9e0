// Devices as far as a server can see them: keys, inventory, reports, logs. For pages that are to have something on them.

import { generateKeyPairSync, sign } from 'node:crypto';
import { request } from 'node:https';

export class Server {
  constructor(url, authority) {
    this.url = url;
    this.authority = authority;
    this.token = '';
  }

  call(method, path, { body, headers = {}, token } = {}) {
    const bytes = body === undefined ? undefined : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
    const all = { ...headers };
    if (bytes) { all['Content-Length'] = bytes.length; all['Content-Type'] ??= 'application/json'; }
    if (token ?? this.token) all.Authorization ??= `Bearer ${token ?? this.token}`;
    return new Promise((resolve, reject) => {
      const asked = request(this.url + path, { method, headers: all, ca: this.authority }, (answer) => {
        const pieces = [];
        answer.on('data', (piece) => pieces.push(piece));
        answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, text: Buffer.concat(pieces).toString() }));
      });
      asked.on('error', reject);
      asked.end(bytes);
    });
  }

  async must(status, method, path, options) {
    const answer = await this.call(method, path, options);
    if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return answer;
  }

  async login(email, password) {
    const basic = `Basic ${Buffer.from(`${email}:${password}`).toString('base64')}`;
    const answer = await this.must(200, 'POST', '/api/management/v1/useradm/auth/login', { headers: { Authorization: basic } });
    this.token = answer.text;
  }

  async acceptAll() {
    const pending = await this.must(200, 'GET', '/api/management/v2/devauth/devices?status=pending&per_page=500');
    for (const device of JSON.parse(pending.text)) {
      const path = `/api/management/v2/devauth/devices/${device.id}/auth/${device.auth_sets[0].id}/status`;
      await this.must(204, 'PUT', path, { body: { status: 'accepted' } });
    }
  }

  async upload(file, description) {
    const part = (name, content, more = '') => Buffer.concat([
      Buffer.from(`--part\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n`), content, Buffer.from('\r\n')]);
    const body = Buffer.concat([part('description', Buffer.from(description)),
      part('artifact', file, '; filename="a.mender"'), Buffer.from('--part--\r\n')]);
    await this.must(201, 'POST', '/api/management/v1/deployments/artifacts',
      { body, headers: { 'Content-Type': 'multipart/form-data; boundary=part' } });
  }

  async deploy(name, release, target) {
    const group = target.group ? `/group/${target.group}` : '';
    const answer = await this.must(201, 'POST', `/api/management/v1/deployments/deployments${group}`,
      { body: { name, artifact_name: release, ...(target.group ? {} : target) } });
    return answer.headers.location.split('/').pop();
  }
}

export class Device {
  constructor(identity, inventory) {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    this.identity = identity;
    this.inventory = inventory;
    this.key = privateKey;
    this.pem = publicKey.export({ type: 'spki', format: 'pem' });
    this.token = '';
  }

  async knock(server) {
    const body = Buffer.from(JSON.stringify({ id_data: JSON.stringify(this.identity), pubkey: this.pem, tenant_token: '' }));
    const headers = { 'X-MEN-Signature': sign(null, body, this.key).toString('base64'), Authorization: 'Bearer x' };
    const answer = await server.call('POST', '/api/devices/v1/authentication/auth_requests', { body, headers });
    if (answer.status === 200) this.token = answer.text;
    return answer.status;
  }

  async introduce(server) {
    const body = Object.entries(this.inventory).map(([name, value]) => ({ name, value }));
    await server.must(200, 'PUT', '/api/devices/v1/inventory/device/attributes', { body, token: this.token });
  }

  // The deployment that is offered to it, if one is.
  async ask(server) {
    const { artifact_name, device_type } = this.inventory;
    const answer = await server.call('POST', '/api/devices/v2/deployments/device/deployments/next',
      { body: { device_provides: { artifact_name, device_type } }, token: this.token });
    return answer.status === 200 ? JSON.parse(answer.text).id : undefined;
  }

  async report(server, deployment, status, substate) {
    await server.must(204, 'PUT', `/api/devices/v1/deployments/device/deployments/${deployment}/status`,
      { body: { status, substate }, token: this.token });
  }

  async log(server, deployment, messages) {
    const body = { messages: messages.map(([level, message], n) => ({
      timestamp: new Date(Date.UTC(2026, 10, 23, 8, 3, n)).toISOString(), level, message })) };
    await server.must(204, 'PUT', `/api/devices/v1/deployments/device/deployments/${deployment}/log`, { body, token: this.token });
  }
}
