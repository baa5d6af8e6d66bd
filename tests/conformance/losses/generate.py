# Golden vectors for preference losses: torch float64 autograd on formulas written from the mathematics of each loss's paper.
# Usage: python generate.py
import json, os, math, torch
from torch import sigmoid as S
D=torch.float64
def sp(x): return torch.logaddexp(x, torch.zeros_like(x))          # softplus(x) = log(1+e^x) = -log sigma(-x)
EPS=0.1; EXO=1e-3; TAU=0.05
def mk():
    g=torch.Generator().manual_seed(20240613)
    n=64; r=torch.randn(4,n,generator=g,dtype=D)
    x=torch.stack([-60+8*r[0],-60+8*r[1],-60+8*r[2],-60+8*r[3]])
    x=torch.round(x*1024)/1024                                   # exactly representable in f32
    sp_=[(-50,-50,-50,-50),(0,0,0,0),(50,-50,0,0),(-50,50,0,0),(50,-50,-50,50),(-50,50,50,-50),(-50,-50,50,50),(50,50,-50,-50),
         (0,0,50,-50),(0,0,-50,50),(-1,-2,-1,-2.125),(-10,-12,-11,-11),(-30,-10,-30,-10),(-0.25,0.25,0.25,-0.25),(-20,0,0,0),(0,-20,0,0)]
    for i,v in enumerate(sp_): x[:,i]=torch.tensor(v,dtype=D)
    return x
def blocks(pc,pr,rc,rr,b):
    a=pc-rc; c=pr-rr; return a,c,(a-c),b*(a-c)
def sd(f): return lambda pc,pr,rc,rr,b: f(*blocks(pc,pr,rc,rr,b),b)
L={}
L['dpo']       =sd(lambda a,c,d,z,b: sp(-z))
L['cdpo']      =sd(lambda a,c,d,z,b: (1-EPS)*sp(-z)+EPS*sp(z))
L['hinge']     =sd(lambda a,c,d,z,b: torch.relu(1-z))
L['ipo']       =sd(lambda a,c,d,z,b: (d-1/(2*b))**2)
L['exp']       =sd(lambda a,c,d,z,b: torch.exp(-z))
L['exo_pair']  =sd(lambda a,c,d,z,b: S(z)*(-sp(-z)-math.log1p(-EXO))+S(-z)*(-sp(z)-math.log(EXO)))
L['nca_pair']  =sd(lambda a,c,d,z,b: sp(-b*a)+0.5*sp(b*a)+0.5*sp(b*c))
L['robust']    =sd(lambda a,c,d,z,b: ((1-EPS)*sp(-z)-EPS*sp(z))/(1-2*EPS))
L['bco_pair']  =sd(lambda a,c,d,z,b: sp(-b*a)+sp(b*c))
def bco_d(a,c,d,z,b):
    delta=(b*torch.cat([a,c])).mean().detach(); return sp(-(b*a-delta))+sp(b*c-delta)
L['bco_pair_shift']=sd(bco_d)
L['sppo_hard'] =sd(lambda a,c,d,z,b: (a-0.5/b)**2+(c+0.5/b)**2)
L['apo_zero']  =sd(lambda a,c,d,z,b: 1-S(b*a)+S(b*c))
L['apo_down']  =sd(lambda a,c,d,z,b: S(b*a)+1-S(z))
def srt(x): return torch.sort(x,stable=True)[0]
L['aot']       =lambda pc,pr,rc,rr,b: sp(-b*(srt(pc-pr)-srt(rc-rr)))
L['aot_unpaired']=lambda pc,pr,rc,rr,b: sp(-b*(srt(pc-rc)-srt(pr-rr)))
def kto(pc,pr,rc,rr,b):
    a=pc-rc;c=pr-rr; kc=a.mean().clamp(min=0); kr=c.mean().clamp(min=0)
    return torch.cat([1-S(b*(a-kr)),1-S(b*(kc-c))])
L['kto_pair']=kto
L['lrml']      =sd(lambda a,c,d,z,b: (1-S(z/TAU))*sp(-z)+S(z/TAU)*torch.exp(-z))
def dbaql(a,c,d,z,b):
    w=S((z/TAU).var()); return w*sp(-z/0.9)+(1-w)*torch.exp(-0.9*z)
L['dbaql']=sd(dbaql)
def aql(a,c,d,z,b):
    m=0.5+0.01*(S((z/TAU).mean())-0.5); q=S(-(z/TAU-m)); return q*sp(-z)+(1-q)*torch.relu(1-z)
L['aql']=sd(aql)
L['padll']     =sd(lambda a,c,d,z,b: 0.9*(1-0.5*(d<0).to(D))*sp(-z))
def aqfl(a,c,d,z,b):
    u=z/TAU; k=u.std()*S(-u).mean(); k=k+0.05*(S(u.mean())-k); r=S(0.1*(u-k).abs()); return r*sp(-z)+(1-r)*torch.relu(1-z)
L['aqfl']=sd(aqfl)
L['cell']      =sd(lambda a,c,d,z,b: 0.5*torch.exp(-z)+0.5*sp(-z))
def pfl(pc,pr,rc,rr,b):
    z=b*((pc-pr)-(rc-rr)); return torch.where(pc>pr, 0.5*sp(-z), 2*torch.relu(1-z))
L['pfl']=pfl
BETAS=[0.05,0.1,0.5]
COUPLED={'kto_pair','dbaql','aql','aqfl','aot','aot_unpaired'}
def run(f,x,b):
    pc,pr=x[0].clone().requires_grad_(),x[1].clone().requires_grad_()
    l=f(pc,pr,x[2],x[3],b); l.sum().backward(); return l.detach(),pc.grad,pr.grad
if __name__=='__main__':
    x=mk(); out=dict(version=1,note='grad = d(sum of losses)/d(policy logp), float64; see README.md',seed=20240613,torch=torch.__version__,
      constants=dict(label_smoothing=EPS,exo_eps=EXO,tau=TAU),inputs=dict(zip(['policy_chosen_logps','policy_rejected_logps','reference_chosen_logps','reference_rejected_logps'],x.tolist())),cases=[])
    for n,f in L.items():
        for b in BETAS:
            l,gc,gr=run(f,x,b); assert all(torch.isfinite(t).all() for t in (l,gc,gr)),(n,b)
            out['cases'].append(dict(loss=n,beta=b,batch_coupled=n in COUPLED,sum=l.sum().item(),losses=l.tolist(),grad_policy_chosen=gc.tolist(),grad_policy_rejected=gr.tolist()))
    json.dump(out,open('golden.json','w'),separators=(',',':')); print(len(L),'losses',len(out['cases']),'cases',os.path.getsize('golden.json'),'bytes')
